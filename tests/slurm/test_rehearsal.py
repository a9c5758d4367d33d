"""A rehearsal on a real Slurm: what it names before anything is spent, and its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab

from cebctl.app import run

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 40, batch: 64}
grids:
  - objective: xent
  - {objective: ceb, rho: [2, 1]}
resources: {train: {memory: 1500M}, evaluate: {memory: 1500M}}
evaluate: [clean, ood: {against: cifar10}]
"""


@pytest.fixture
def rehearse(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Rehearse a matrix of this text; return the exit code, stdout and stderr."""
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))

    def rehearse(text: str, *options: str) -> tuple[int, str, str]:
        matrix = tmp_path / "m.yaml"
        matrix.write_text(text)
        code = run(["rehearse", str(matrix), "--on", "slurm", *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return rehearse


def test_a_wrong_partition_is_named_and_nothing_is_sent(rehearse, home: Path) -> None:
    code, _, err = rehearse(MATRIX.replace("train: {memory: 1500M}", "train: {partition: gqu}"))
    assert code == 2 and "there is no partition gqu; did you mean 'gpu'?" in err
    assert "missing ood against=cifar10" in err and not home.exists()


def test_it_runs_to_its_end_and_names_too_little_memory(rehearse) -> None:
    code, out, err = rehearse(MATRIX.replace("evaluate: {memory: 1500M}", "evaluate: {memory: 100M}"), "--json")
    assert code == 1, err
    stages = [(run["name"], stage) for run in json.loads(out)["runs"] for stage in run["stages"]]
    assert {name for name, _ in stages} == {"xent", "ceb rho=2"}
    for _, stage in stages:
        if stage["stage"] == "train":
            assert stage["state"] == "done" and not stage["faults"]
        else:  # killed where memory is enforced, measured where it is not
            assert stage["state"] in ("failed", "lost") or "asks for memory: 100M" in stage["faults"][0]
