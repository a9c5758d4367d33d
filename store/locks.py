"""File locks between processes, and the kind of file system that a path lies on."""

from __future__ import annotations

import fcntl
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.errors import UnreachableError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "smbfs", "afs", "9p", "panfs", "orangefs"}
    | {"pvfs2", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.ceph"}
)

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""The kernel's octal escapes of a blank, a tab, a newline and a backslash."""


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the kind of network file system of a path (`nfs4`, `lustre`, `gpfs`, …); None if it is local."""
    kind = file_system(path, mounts)
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the kind of file system of a path (`ext4`, `tmpfs`, …); None if it is unknown.

    A path that does not exist yet has the kind of its folder. Format: proc_pid_mountinfo(5).
    """
    place = path.absolute().resolve()
    best, kind = -1, None
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), before.split()[4]))
        # A later mount at the same place hides the earlier one.
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


@contextmanager
def hold_lock(path: Path, patience: float, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, `shared` with others that do; the system releases it however the process ends.

    Raises UnreachableError if another process still holds it after `patience` seconds.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    except OSError as error:
        raise UnreachableError(str(path), error.strerror or str(error)) from error
    try:
        _wait(fd, path, time.monotonic() + patience, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def remove_lock(path: Path) -> None:
    """Remove a lock file that nobody holds and that nothing was ever written to; any other stays."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(file.fileno()).st_size:
            path.unlink()


def _wait(fd: int, path: Path, deadline: float, kind: int) -> None:
    while True:
        try:
            return fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UnreachableError(str(path), "another cebctl has held this lock for too long") from None
            time.sleep(random.uniform(0.005, 0.03))
        except OSError as error:
            raise UnreachableError(str(path), f"cannot be locked: {error.strerror}") from error
