from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix

BASE = "{data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "m.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def expand(write: Write) -> Callable[[str], Matrix]:
    """Expand a matrix of the shared base and these further lines."""
    return lambda sections: load(write(f"base: {BASE}\n{sections}"))
