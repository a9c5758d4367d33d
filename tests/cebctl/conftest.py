"""Running the command line as a user does: a process, its exit code, what it wrote to each stream."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.app import run as run_command
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import PlannedRun
from jobs import checkpoint_files
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Heartbeat, Measure, Metrics, Result, Started, Submitted, Succeeded
from jobs.paths import STAGES, Home
from jobs.processes import Process

TINY = """
title: A tiny matrix
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [3, 0]}
evaluate: [clean, information, pgd: {norm: linf, eps: 0.1, steps: 3, subset: 100}]
"""


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Cebctl = Callable[..., Answer]


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Start:
    """Start `cebctl …` in an empty folder with a home of its own."""

    def start(*arguments: object, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cebctl.app", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "100", **extra},
            cwd=tmp_path,
        )

    return start


@pytest.fixture
def cebctl(start: Start) -> Cebctl:
    """Run `cebctl …` to its end."""

    def run(*arguments: object, **extra: str) -> Answer:
        process = start(*arguments, **extra)
        out, err = process.communicate(timeout=240)
        return Answer(process.returncode, out, err)

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cebctl:
    """Run `cebctl …` within this process."""
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


SMALL = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [3, 0]}
evaluate: [clean, pgd: {norm: linf, eps: 0.1, steps: 3}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The file of a matrix of three runs with two benchmarks."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def finished(home: Path, small: Path) -> Home:
    """A home in which all of `small` is done; each run keeps the checkpoints of steps 2 and 4."""
    home_paths = Home(home)
    runs = load(small).runs
    with Journal(home_paths.submission("s1")) as journal:
        journal.write(submitted("s1", small), *[claim(planned, stage) for planned in runs for stage in STAGES])
    for planned in runs:
        train(home_paths, planned)
        evaluate(home_paths, planned)
    return home_paths


def dead_process() -> Process:
    """Return a process of this machine that has ended."""
    with subprocess.Popen(["sleep", "100"]) as child:
        process = Process.from_pid(child.pid)
        child.kill()
    assert process is not None
    return process


def submitted(name: str, matrix: Path) -> Submitted:
    return Submitted(name=name, matrix=matrix.stem, matrix_path=str(matrix), executor="local", code="c")


def claim(planned: PlannedRun, stage: str, **overrides: Any) -> Claim:
    benchmarks = list(planned.benchmarks) if stage == "evaluate" else []
    fields = {"label": planned.name, "spec": msgspec.to_builtins(planned.run), "benchmarks": benchmarks}
    return Claim(run_id=planned.run_id, stage=stage, **fields | overrides)


def train(home: Home, planned: PlannedRun) -> None:
    paths = home.run(planned.run_id)
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started(submission="s1", host="h", pid=1))
        for step in range(1, 5):
            values = {"loss": 1 / (3 * step), "rate": None if step == 1 else 0.1 + 0.2}
            journal.write(Metrics(step=step, epoch=float(step), values=values))
            if not step % 2:
                checkpoint_files.write(paths.checkpoints, step, lambda file: file.write(b"x" * 1000))
        journal.write(Heartbeat(step=4, steps=4), Succeeded())
    paths.spec.write_bytes(msgspec.json.format(msgspec.json.encode(planned.run)) + b"\n")


def evaluate(home: Home, planned: PlannedRun) -> None:
    with Journal(home.run(planned.run_id).journal("evaluate", 1)) as journal:
        journal.write(Started(submission="s1"))
        for benchmark in planned.benchmarks:
            result = Result(
                evaluation_id=evaluation_id(benchmark, planned.run.data.name),
                benchmark=benchmark,
                data_digest="d",
                checkpoint_step=4,
                engine="x",
                measures=[
                    Measure(name="accuracy", unit="accuracy", total=360, correct=351),
                    Measure(name="confidence", unit="nats", total=360, value=1 / 3, std=0.1),
                ],
            )
            journal.write(result)
        journal.write(Succeeded())
