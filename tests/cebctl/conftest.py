"""Running the command line as a user does: a process, its exit code, what it wrote to each stream."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cebctl.app import run as run_command

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
    """What a command did."""

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
