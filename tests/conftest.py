"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MINIMAL = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
"""
"""The base of a matrix whose runs train in a blink; a test adds grids."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CEBCTL_HOME of this test alone; the caller's own is never touched."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CEBCTL_HOME", str(folder))
    monkeypatch.delenv("CEBCTL_STORE", raising=False)
    return folder
