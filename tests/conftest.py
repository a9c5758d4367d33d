"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MINIMAL = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
"""
"""The base of a matrix whose runs train in a blink; a test adds grids."""


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """As it was, whatever a command that ran in this process made of it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CEBCTL_HOME of this test alone; the caller's own is never touched."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CEBCTL_HOME", str(folder))
    monkeypatch.setenv("SLURM_CONF", "/dev/null")  # no cluster, whatever this machine belongs to
    monkeypatch.setenv("CEBCTL_ON", "local")  # where there is a Slurm, its tests ask for it
    monkeypatch.delenv("CEBCTL_STORE", raising=False)
    return folder
