"""Parts of one's own are tried before any job: what is wrong with them is a line each, and harms nobody else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from cebctl.planning import part_trials
from cebctl.planning.flop_counts import cached_flop_counts
from cebctl.planning.part_trials import PartTrialError, try_own_parts
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix

PARTS = """
import os, sys, time
import torch
from torch import nn

def net(image, z_dim: int = 4): return nn.Sequential(nn.Flatten(), nn.Linear(image.channels * image.size**2, z_dim))
def wide(image): return nn.Linear(9, 9)
def loss(model, f, z, y, gamma): return model.logits(z).sum()
def in_two_lines(model, f, z, y, gamma): raise ValueError("first\\nsecond")
def constant(model, f, z, y, gamma): return torch.ones(())
def sgd(parameters, lr: float = 0.1): return torch.optim.SGD(parameters, lr=lr)
def no_step(parameters): return torch.optim.LBFGS([p for g in parameters for p in g["params"]])
def late(progress): return 1 / (1 - progress)
def half(progress): return 0.5
def same(images, rng): return images
def cut(images, rng): return images[:1]
def right(model, images, labels, rng): return model.classify(images).argmax(dim=1) == labels
def marginal(model, images, labels, rng): return model.log_marginal(model.encode(images))
def scalar(model, images, labels, rng): return labels.sum()
def gap(logits, labels): return logits.sum(dim=1)
def detached(logits, labels): return logits.detach().sum(dim=1)
def leaves(progress): sys.exit(3)
def ends(progress): os._exit(0)
def hangs(progress):
    while True: time.sleep(1)
def forks(progress):
    os.fork()
    return 1.0
def forks_and_stays(progress):
    if os.fork() == 0: time.sleep(600)
    return 1.0
def prints(progress):
    os.write(1, b"[]\\n"); os.write(2, b"Error\\n"); print("hello")
    return 1.0
"""
MATRIX = """
base: {{data: {{name: digits, augment: {augment}}}, network: {network}, optimiser: {optimiser}, epochs: 1,
       batch: 64}}
grids: [{{objective: {objective}, schedule: {schedule}}}]
evaluate: [{benchmark}, pgd: {{norm: linf, eps: 0.1, loss: {loss}}}]
"""
WORKING = {
    "network": "parts.py:net",
    "objective": "parts.py:loss",
    "optimiser": "parts.py:sgd",
    "schedule": "parts.py:half",
    "augment": "parts.py:same",
    "benchmark": "parts.py:right",
    "loss": "parts.py:gap",
}
BUILT_IN = {
    "network": "{name: small_cnn, width: 4, z_dim: 4}",
    "objective": "xent",
    "optimiser": "adam",
    "schedule": "{warmup_epochs: 0}",
    "augment": "none",
    "benchmark": "clean",
    "loss": "dlr",
}


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Matrix]:
    monkeypatch.setenv("CEBCTL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "parts.py").write_text(PARTS)

    def matrix(**parts: str) -> Matrix:
        (tmp_path / "study.yaml").write_text(MATRIX.format(**{**BUILT_IN, **parts}))
        return load(tmp_path / "study.yaml")

    return matrix


def test_what_works_is_tried_once(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = matrix(**WORKING)
    try_own_parts(own)
    assert [count.z_dim for count in cached_flop_counts(run.run for run in own.runs).values()] == [4]
    monkeypatch.setattr(part_trials, "_run", None)
    try_own_parts(own)
    with pytest.raises(TypeError):
        try_own_parts(matrix(**{**WORKING, "optimiser": "{from: parts.py:sgd, lr: 1}"}))


def test_each_part_that_fails_is_a_line(matrix: Any) -> None:
    with pytest.raises(PartTrialError) as error:
        try_own_parts(
            matrix(
                network="parts.py:wide",
                objective="parts.py:in_two_lines",
                optimiser="parts.py:no_step",
                schedule="parts.py:late",
                augment="parts.py:cut",
                benchmark="parts.py:scalar",
                loss="parts.py:detached",
            )
        )
    lines = sorted(str(error.value).splitlines())
    for line, (name, wrong) in zip(
        lines,
        [
            ("cut", "returns shape (1, 1, 8, 8) for images (2, 1, 8, 8); expected as many of their shape"),
            ("detached", "returns a loss without a gradient to the logits"),
            ("in_two_lines", "parts.py:9 in in_two_lines: ValueError: first"),
            ("late", "parts.py:13 in late: ZeroDivisionError: float division by zero"),
            ("no_step", "TypeError: LBFGS.step() missing 1 required positional argument: 'closure'"),
            ("scalar", "returns a tensor of shape () for 2 images; expected one bool or float for each"),
            ("wide", "RuntimeError: "),
        ],
        strict=True,
    ):
        assert line.startswith(f"parts.py:{name}: {wrong}"), line


def test_what_would_end_or_stop_submit(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_trials, "SECONDS", 2)
    with pytest.raises(PartTrialError) as error:
        try_own_parts(matrix(schedule="[parts.py:leaves, parts.py:hangs, parts.py:half, parts.py:ends]"))
    assert str(error.value).splitlines() == [
        "parts.py:leaves: parts.py:22 in leaves: SystemExit: 3",
        "parts.py:hangs: parts.py:25 in hangs: not done after 2 s",
        "parts.py:ends: ended its process with 0 when it was tried",
    ]


def test_what_a_part_starts_or_prints_goes_nowhere(
    matrix: Any, capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try_own_parts(matrix(schedule="[parts.py:forks, parts.py:forks_and_stays, parts.py:prints]"))
    assert capfd.readouterr() == ("", "")
    for _ in range(100):  # the kernel takes a moment to end what was killed
        if not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout:
            return
        sleep(0.1)
    pytest.fail("a process that a part forked is left")


def test_a_benchmark_has_the_heads_of_the_runs_objective(matrix: Any) -> None:
    try_own_parts(matrix(benchmark="parts.py:marginal", objective="{name: vib, rho: 1}"))
    with pytest.raises(PartTrialError, match=r"parts\.py:marginal: .* in marginal: "):
        try_own_parts(matrix(benchmark="parts.py:marginal"))


def test_submit_begins_nothing_with_a_part_that_fails(matrix: Any, call: Any, home: Path) -> None:
    answer = call("submit", matrix(schedule="parts.py:late").path, "--wait")
    wrong = "parts.py:late: parts.py:13 in late: ZeroDivisionError: float division by zero\n"
    introduction, *error = answer.err.splitlines(keepends=True)
    assert "never submitted from here before; it runs 1 of its own" in introduction
    assert (answer.code, answer.out, error, home.exists()) == (2, "", [wrong], False)
