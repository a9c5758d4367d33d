"""The lease of a run's stage: one attempt at a time, and an older attempt can tell that a newer one took over.

The kernel's file lock makes it exclusive and gives it up when the holder dies, however it dies. A node that is cut
off but alive still holds its lock, so that a newer start of the same job may put a new file in its place: the older
attempt sees another number there and stops. The file says who holds it, so that others need not touch the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from jobs.processes import Process

_CHECK_SECONDS = 2.0


class Holder(Struct, frozen=True, omit_defaults=True):
    """What the lease file says."""

    attempt: int
    process: str
    submission: str = ""
    restart: int = 0
    run_id: str = ""
    """Empty in files of earlier commits."""

    @property
    def start_order(self) -> tuple[str, int]:
        """What orders starts: the name of a submission begins with its time."""
        return self.submission, self.restart


class Lease:
    """A held lease. It ends with `release`, or with the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._attempt = path, fd, 0
        self._checked = time.monotonic()

    def write_holder(self, attempt: int, submission: str = "", restart: int = 0) -> None:
        """Write this process and its attempt into the file."""
        self._attempt = attempt
        text = msgspec.json.encode(Holder(attempt, str(Process.current()), submission, restart, self._path.parent.name))
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def is_superseded(self) -> bool:
        """Whether a newer attempt wrote itself into the file; looked up at most every two seconds."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return False
        return self.is_taken_over()

    def is_taken_over(self) -> bool:
        """The same, looked up now."""
        self._checked = time.monotonic()
        now = read_holder(self._path)
        return now is not None and now.attempt > self._attempt

    def release(self) -> None:
        os.close(self._fd)


def acquire(path: Path, newer_than: Callable[[Holder], bool] = lambda _: False) -> Lease | None:
    """Take the lease, or return None if a living process holds it that this one is not `newer_than`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        if _locked(fd):
            return Lease(path, fd)
        os.close(fd)
        now = read_holder(path)
        if now is None or not newer_than(now):
            return None
        return Lease(path, _put_in_place(path))


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """A lock held for the moment of the taking, because two may want to replace the file."""
    fd = os.open(path.with_suffix(".taking"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put_in_place(path: Path) -> int:
    """A new file, locked before it is seen, in the place of one whose lock can't be had."""
    beside = path.with_suffix(f".{os.getpid()}.new")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    fcntl.flock(fd, fcntl.LOCK_EX)
    beside.rename(path)
    return fd


def read_holder(path: Path) -> Holder | None:
    """Who wrote the lease file last; None if nobody did, if it is being written, or if it is another run's."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.run_id in ("", path.parent.name) else None


def is_held(path: Path) -> bool | None:
    """Whether the holder lives; None if it runs on another machine."""
    now = read_holder(path)
    process = Process.parse(now.process) if now else None
    return process.is_alive() if process else False
