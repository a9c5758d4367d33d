from __future__ import annotations

from pathlib import Path

import pytest

from jobs.paths import Home, RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """The directory of one run."""
    return Home(tmp_path).run("r0123456789abcdef")
