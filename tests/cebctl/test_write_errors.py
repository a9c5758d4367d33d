"""A disk that is full, a home that can't be written: a line each, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from experiments.matrix.load import load
from jobs.paths import Home

pytestmark = pytest.mark.fault

Mount = Callable[[str], None]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Path, Mount]]:
    """A file system of its own in memory, and changing its mount options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    first = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(first, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root and the right to mount")
    yield folder, mount
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave a page or two."""
    with pytest.raises(OSError, match="No space left"), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 14))
    os.truncate(folder / "filler", (folder / "filler").stat().st_size - (8 << 10))


def test_a_disk_that_fills_up(call, small: Path, mounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, _ = mounted
    monkeypatch.setenv("CEBCTL_HOME", str(disk / "home"))
    (disk / "home").mkdir()
    fill(disk)
    for command in ("status", "submit"):
        answer = call(command, small)
        assert (answer.code, len(answer.err.splitlines()), answer.out) == (3, 1, ""), answer
        assert "full" in answer.err or "No space left" in answer.err or "disk I/O" in answer.err
    (disk / "filler").unlink()
    assert call("submit", small, "--wait").code == 0
    assert all(Home(disk / "home").run(run.run_id).attempts("train") == [1] for run in load(small).runs)


def test_a_home_that_cannot_be_written(call, small: Path, mounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, mount = mounted
    monkeypatch.setenv("CEBCTL_HOME", str(disk / "home"))
    (disk / "home").mkdir()
    mount("ro")
    for command in (["status", small], ["report", small], ["submit", small], ["doctor", "--rebuild"]):
        answer = call(*command)
        assert (answer.code, len(answer.err.splitlines()), answer.out) == (3, 1, ""), answer
    assert call("plan", small).code == 0
    doctor = call("doctor")
    assert doctor.code == 1 and "Read-only file system" in doctor.out
    assert f"1. make {disk}/home writable" in doctor.out


def test_a_disk_that_fills_up_while_images_are_corrupted(call, tmp_path: Path, mounted: Any) -> None:
    disk, mount = mounted
    (tmp_path / "pets/cat").mkdir(parents=True)
    for number in range(3):
        Image.effect_noise((32, 32), 90).save(tmp_path / f"pets/cat/{number}.png")
    corrupt = ("corrupt", tmp_path / "pets", "--pipeline", "as-is", "--severity", "5", "--out")
    assert call(*corrupt, tmp_path / "whole").code == 0
    (disk / "out").mkdir()
    assert call(*corrupt, disk / "out", "--corruption", "fog").code == 0
    fill(disk)
    answer = call(*corrupt, disk / "out")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (3, "", 1)
    assert answer.err.startswith(f"{disk}/out/") and answer.err.endswith(": No space left on device\n")
    (disk / "filler").unlink()
    mount("ro")
    answer = call(*corrupt, disk / "out")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (3, "", 1) and "Read-only file" in answer.err
    mount("rw")
    assert call(*corrupt, disk / "out").code == 0
    for file in (tmp_path / "whole").rglob("*.*"):
        assert (disk / "out" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()
    assert len(list((disk / "out").rglob(".*"))) == 0
