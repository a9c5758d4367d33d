"""Journal files: one writer each, and readers that tolerate a torn last line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from experiments.regular_files import check_regular, open_regular
from jobs import file_ownership
from jobs.journal.records import DECODE_ERRORS, AnyRecord, Heartbeat, Metrics, Partial, decode, encode

SYNC_SECONDS = 5.0
"""A line may wait this long for its fsync, unless it is a state or a result."""

LONGEST_LINE = 64 << 20
"""Bytes of a line that are read; a longer one is no record."""

_PIECE_BYTES = 1 << 20

_MAY_WAIT = (Heartbeat, Metrics, Partial)
"""Frequent records whose loss costs little: each fsync would stall training on a slow file system."""


class Journal:
    """The writer of one journal file.

    Every line is one `write` to a file opened for appending, so that only the last one can be torn. The next record
    behind a torn line, on a disk that has room again, begins a new line.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            check_regular(path, path.stat().st_mode)
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o664)
        size = os.fstat(self._fd).st_size
        self._torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        self._synced = time.monotonic()
        self.seconds = 0.0
        """Time spent in writing so far: more than a moment means a slow file system."""
        fsync_folder(path.parent)

    def write(self, *records: AnyRecord) -> None:
        """Append the records; on return they survive a killed process, and a dead machine unless they may wait."""
        before = time.monotonic()
        lines = b"\n" * self._torn + b"".join(encode(record) + b"\n" for record in records)
        self._torn = True
        while lines:
            lines = lines[os.write(self._fd, lines) :]
        self._torn = False
        is_overdue = time.monotonic() - self._synced > SYNC_SECONDS
        if is_overdue or not all(isinstance(record, _MAY_WAIT) for record in records):
            os.fsync(self._fd)
            self._synced = time.monotonic()
        self.seconds += time.monotonic() - before

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Chunk:
    """The whole lines of one piece of a journal."""

    records: list[AnyRecord]
    offset: int
    """The byte at which the next piece begins."""
    damaged: int
    """The number of whole lines that are no records."""


def read(path: Path, offset: int = 0, limit: int = 64 << 20) -> Chunk:
    """Read whole lines from a byte offset, at most about `limit` bytes; an unfinished last line is not consumed."""
    with open_regular(path) as file:
        return read_open(file, offset, limit)


def read_open(file: BinaryIO, offset: int, limit: int) -> Chunk:
    """Read as `read` does, from an open file. Raises InputError if its owner is not trusted."""
    file_ownership.check_owner(Path(file.name), os.fstat(file.fileno()).st_uid)
    file.seek(offset)
    data = file.read(limit)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == limit:  # one line longer than the limit
        file.seek(offset)
        line = next(iter_lines(file), None)
        data, end = (b"", 0) if line is None else (line, file.tell() - offset)
    records: list[AnyRecord] = []
    damaged = 0
    for line in data[:end].split(b"\n"):
        if not line:
            continue
        if len(line) > LONGEST_LINE:
            damaged += 1
            continue
        try:
            records.append(decode(line))
        except DECODE_ERRORS:
            damaged += 1
    return Chunk(records, offset + end, damaged)


def iter_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the whole lines of an open file without their newlines; of one that is too long, only the beginning."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.readline(_PIECE_BYTES):
        if size <= LONGEST_LINE:
            pieces.append(piece)
            size += len(piece)
        if piece.endswith(b"\n"):
            yield b"".join(pieces).removesuffix(b"\n")
            pieces, size = [], 0


def fsync_folder(folder: Path) -> None:
    """Make a created or renamed entry of this folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
