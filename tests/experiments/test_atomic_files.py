from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import own_dataset
from experiments.atomic_files import ABANDONED_SECONDS, replacing, sweep, write_atomic

KILLED = """
import os, sys, pathlib
sys.addaudithook(lambda event, arguments: event == "os.rename" and os.kill(os.getpid(), 9))
{work}
"""


@pytest.mark.parametrize(
    "work",
    [
        "from experiments.atomic_files import write_atomic\n"
        "write_atomic(pathlib.Path(sys.argv[1]) / 'a' / 'queue.json', b'x')",
        "from experiments.atomic_files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1]) / 'a' / 'out') as beside: beside.mkdir(); (beside / 'x').touch()",
    ],
)
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, work: str) -> None:
    (tmp_path / "a").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(work=work), str(tmp_path)], cwd=Path(__file__).parents[2]
    )
    assert done.returncode == -9
    write_atomic(tmp_path / "a" / "queue.json", b"whole")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["queue.json"]


def test_a_failed_write_leaves_nothing_and_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    path = tmp_path / "queue.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["queue.json"] and path.read_bytes() == b"old"
    assert own_dataset.names() == []


def test_only_our_own_leftovers_are_swept_and_none_that_is_being_written(tmp_path: Path) -> None:
    theirs = [".mine.part", "x.123.part", ".train.py.swp", ".data.tar.gz.part", f".a.{socket.gethostname()}~1.part.d.e"]
    for name in theirs:
        (tmp_path / name).touch()
    away = tmp_path / ".queue.elsewhere~4711.part.json"
    away.touch()
    with replacing(tmp_path / "mine.csv") as beside:
        beside.touch()
        sweep(tmp_path)
        assert beside.exists() and beside.suffix == ".csv"
    assert away.exists()
    os.utime(away, (0, away.stat().st_mtime - ABANDONED_SECONDS - 1))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, "mine.csv"])
