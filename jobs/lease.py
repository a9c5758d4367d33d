"""The lease of a run's stage: one attempt at a time, and an older attempt can tell that a newer one took over.

On one machine the kernel's file lock makes it exclusive and gives it up when the holder dies, however it dies.
The file says who holds it, so that others need not touch the lock to see whether the holder lives.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from jobs.processes import Process

_CHECK_SECONDS = 2.0


class Holder(Struct, frozen=True):
    """What the lease file says."""

    attempt: int
    process: str


class Lease:
    """A held lease. It ends with `release`, or with the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._attempt = path, fd, 0
        self._checked = time.monotonic()

    def enter(self, attempt: int) -> None:
        """Write this process and its attempt into the file."""
        self._attempt = attempt
        text = msgspec.json.encode(Holder(attempt, str(Process.current())))
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def superseded(self) -> bool:
        """Whether a newer attempt wrote itself into the file; looked up at most every two seconds."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return False
        self._checked = time.monotonic()
        now = holder(self._path)
        return now is not None and now.attempt > self._attempt

    def release(self) -> None:
        os.close(self._fd)


def acquire(path: Path) -> Lease | None:
    """Take the lease, or return None if a living process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return Lease(path, fd)


def holder(path: Path) -> Holder | None:
    """Who wrote the lease file last; None if nobody did, or if it is being written."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def held(path: Path) -> bool | None:
    """Whether the holder lives; None if it runs on another machine."""
    now = holder(path)
    process = Process.parse(now.process) if now else None
    return process.alive() if process else False
