from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.own_parts.read import OwnPart, read_part
from experiments.spec import Part
from jobs import own_parts
from jobs.paths import Home, RunPaths


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """The directory of one run."""
    return Home(tmp_path).run("r0123456789abcdef")


def unpack(part: OwnPart, root: Path) -> None:
    """Write a part's sources as a snapshot has them, for this process to import."""
    own_parts.write_sources(own_parts.snapshot_sources([part]), root)
    own_parts.use_sources(root)


@pytest.fixture
def own_part(tmp_path: Path) -> Callable[..., Part]:
    """The spec of a part in a file of this text, which can be imported here."""

    def own_part(text: str, name: str, role: str, **values: object) -> Part:
        (tmp_path / "parts.py").write_text(text)
        part = read_part(f"parts.py:{name}", role, tmp_path)
        unpack(part, tmp_path / "snapshot")
        return part.spec(values)

    return own_part
