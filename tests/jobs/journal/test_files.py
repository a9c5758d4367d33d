"""Journals that are no files, or whose lines have no end."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from jobs.journal import files
from jobs.journal.files import Journal, read
from jobs.journal.records import Succeeded, encode

pytestmark = pytest.mark.fault

LINE = encode(Succeeded()) + b"\n"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [make_pipe, make_socket, link_to_zeros, Path.mkdir])
def test_what_is_no_file_is_neither_read_nor_written(
    tmp_path: Path, make: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.1.jsonl"
    make(path)  # type: ignore[operator]
    for opening in (read, Journal):
        with pytest.raises(OSError, match="not a file"):
            opening(path)


def test_a_line_that_is_too_long_is_damaged_and_needs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 20)
    path = tmp_path / "train.1.jsonl"
    path.write_bytes(LINE)
    os.truncate(path, 1 << 26)
    with path.open("ab") as file:
        file.write(b"\n" + LINE)
    tracemalloc.start()
    chunk = read(path, len(LINE), 1 << 20)
    rest = read(path, chunk.offset, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (chunk.records, chunk.damaged, chunk.offset) == ([], 1, (1 << 26) + 1)
    assert (len(rest.records), rest.damaged) == (1, 0)
    assert peak < 1 << 23


def test_a_line_without_an_end_is_left_to_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "train.1.jsonl"
    path.write_bytes(b"x" * 100)
    assert read(path, 0, 10).offset == 0
