"""The lease of a run's stage: one attempt at a time, and an older attempt can tell that a newer one took over.

The kernel's file lock makes it exclusive and releases it when the holder dies, however it dies. A node that is cut
off but alive still holds its lock, so that a newer start of the same job may put a new file in its place: the older
attempt reads another attempt's number there and stops. The file names its holder, so that readers need no lock.
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

from experiments.atomic_files import read_json
from jobs.errors import HomeGoneError
from jobs.processes import Process

_CHECK_SECONDS = 2.0


class Holder(Struct, frozen=True, omit_defaults=True):
    """The content of a lease file."""

    attempt: int
    process: str
    """As `jobs.processes.Process` writes itself."""
    submission: str = ""
    restart: int = 0
    run_id: str = ""
    """Empty in files of earlier commits."""

    @property
    def start_order(self) -> tuple[str, int]:
        """The key by which starts are ordered: the name of a submission begins with its time."""
        return self.submission, self.restart


class Lease:
    """A held lease. It ends with `release`, or with the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._attempt = path, fd, 0
        self._checked = time.monotonic()
        self._missed = 0

    def write_holder(self, attempt: int, submission: str = "", restart: int = 0) -> None:
        """Write this process and its attempt into the file."""
        self._attempt = attempt
        text = msgspec.json.encode(Holder(attempt, str(Process.current()), submission, restart, self._path.parent.name))
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def is_superseded(self) -> bool:
        """Whether a newer attempt wrote itself into the file; read at most every two seconds."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return False
        return self.is_taken_over()

    def is_taken_over(self) -> bool:
        """Whether a newer attempt wrote itself into the file, read now.

        Raises HomeGoneError if the file was removed, with the run or the whole home, or is that of a new home in the
        old one's place: whatever the attempt wrote would begin the folder anew.
        """
        self._checked = time.monotonic()
        holder = read_holder(self._path)
        if holder is not None and holder.attempt > self._attempt:
            return True
        # Missed twice: a network file system may miss a file for a moment.
        self._missed = 0 if self._path.exists() else self._missed + 1
        is_anothers = holder is not None and self._attempt and holder.process != str(Process.current())
        if self._missed > 1 or is_anothers:
            raise HomeGoneError(self._path.parent)
        return False

    def release(self) -> None:
        os.close(self._fd)


def acquire(path: Path, newer_than: Callable[[Holder], bool] = lambda _: False) -> Lease | None:
    """Take the lease, or return None if a living process holds it that this one is not `newer_than`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _acquisition_lock(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Lease(path, fd)
        except BlockingIOError:
            os.close(fd)
        holder = read_holder(path)
        if holder is None or not newer_than(holder):
            return None
        return Lease(path, _replace_file(path))


@contextmanager
def _acquisition_lock(path: Path) -> Iterator[None]:
    """Let one process at a time acquire: two newer starts may both want to replace the file."""
    fd = os.open(path.with_suffix(".taking"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace_file(path: Path) -> int:
    """Put a new file in the place of one that another process has locked; it is locked before it gets its name."""
    beside = path.with_suffix(f".{os.getpid()}.new")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    fcntl.flock(fd, fcntl.LOCK_EX)
    beside.rename(path)
    return fd


def read_holder(path: Path) -> Holder | None:
    """Return the holder that a lease file names; None if there is none, if it is incomplete or another run's."""
    holder = read_json(path, Holder)
    return holder if holder and holder.run_id in ("", path.parent.name) else None


def is_held(path: Path) -> bool | None:
    """Whether the holder lives; None if it runs on another machine."""
    holder = read_holder(path)
    process = Process.parse(holder.process) if holder else None
    return process.is_alive() if process else False
