from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.journal.files import Journal, read
from jobs.journal.records import Died, Failed, Heartbeat, Metrics, Succeeded


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "train.1.jsonl"
    written = [Heartbeat(step=1, steps=2), Metrics(step=1, epoch=0.5, values={"loss": 0.25}), Failed(error="x\ny")]
    with Journal(path) as journal:
        journal.write(*written)
    chunk = read(path)
    assert chunk.records == written
    assert (chunk.offset, chunk.damaged) == (path.stat().st_size, 0)


def test_what_is_written_behind_a_line_that_a_full_disk_tore_is_whole(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path / "j") as journal:
        journal.write(Heartbeat(step=1, steps=2))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "j").stat().st_size + 20, before[1]))
            with pytest.raises(OSError):
                journal.write(Failed(error="x" * 1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.write(end := Died(reason="no room"))
    chunk = read(tmp_path / "j")
    assert (chunk.records[1:], chunk.damaged) == ([end], 1)


def test_what_is_written_in_several_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As POSIX allows: a signal or a disk that is nearly full ends a `write` early."""
    write = os.write
    records = [Heartbeat(step=1, steps=2), Failed(error="x" * 100)]
    with Journal(tmp_path / "j") as journal, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        journal.write(*records)
    chunk = read(tmp_path / "j")
    assert (chunk.records, chunk.damaged) == (records, 0)


def test_a_number_that_is_none_is_null(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.write(Metrics(step=1, epoch=1, values={"loss": float("nan"), "rate": float("inf")}))
    assert read(tmp_path / "j").records[0].values == {"loss": None, "rate": None}


@given(cut=st.integers(0, 200), chunk=st.integers(1, 300))
def test_reading_in_pieces_sees_every_whole_line_once(tmp_path_factory, cut: int, chunk: int) -> None:
    path = tmp_path_factory.mktemp("j") / "j"
    with Journal(path) as journal:
        for step in range(6):
            journal.write(Heartbeat(step=step, steps=6, time=1.0))
    whole = path.read_bytes()
    torn = whole[: max(0, len(whole) - cut)]
    path.write_bytes(torn)
    steps, offset = [], 0
    while (piece := read(path, offset, chunk)).offset > offset:
        steps += [record.step for record in piece.records]
        offset = piece.offset
    assert steps == list(range(torn.count(b"\n")))
    assert offset == torn.rfind(b"\n") + 1


def test_the_next_writer_begins_on_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"type":"heartbeat","time":1,"step":1,"steps":2}\n{"type":"heartb')
    with Journal(path) as journal:
        journal.write(Died(reason="killed"))
    chunk = read(path)
    assert [type(record) for record in chunk.records] == [Heartbeat, Died]
    assert chunk.damaged == 1


def test_lines_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(
        b'\xff\xfe\n{"type":"nonsense"}\n{"type":"heartbeat","step":"one","steps":2}\n[]\n{"type":"succeeded"}\n'
    )
    chunk = read(path)
    assert [type(record) for record in chunk.records] == [Succeeded]
    assert chunk.damaged == 4


def test_kill_9_leaves_whole_lines_and_at_most_one_torn(tmp_path: Path) -> None:
    path = tmp_path / "j"
    child = os.fork()
    if child == 0:
        journal = Journal(path)
        step = 0
        while True:
            step += 1
            journal.write(Heartbeat(step=step, steps=10**9))
    while not path.exists() or path.stat().st_size < 100_000:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    chunk = read(path)
    assert [record.step for record in chunk.records] == list(range(1, len(chunk.records) + 1))
    assert chunk.damaged == 0
