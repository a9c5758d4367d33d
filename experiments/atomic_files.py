"""Write files and folders so that a reader sees either all of one or nothing, and read such files."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from experiments import user_paths
from experiments.regular_files import read_regular

T = TypeVar("T")

ABANDONED_SECONDS = 3600.0
"""An unfinished file of this age has no writer any more, on any machine."""

_UNFINISHED = re.compile(r"\..+\.(?P<host>[^~/]+)~(?P<pid>\d+)\.part(\.[^.]*)?")
"""The names that `replacing` gives to unfinished files, so that `sweep` removes no others."""


@contextmanager
def replacing(path: Path, *, sweeps: bool = True) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder, which replaces `path` when the block succeeds.

    It is removed when the block fails. A killed process leaves it, and the next writer in the same folder removes it,
    unless `sweeps` is False: to look through a folder of many files for each of them would take long.

    Raises InputError if `path` is a device, a FIFO, a socket or a link: it would be gone, and what it leads to
    unchanged.
    """
    if not path.is_dir() or path.is_symlink():
        user_paths.check_file(path)
    if sweeps:
        sweep(path.parent)
    # The suffix stays, because some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{socket.gethostname()}~{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        _remove(temporary)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, whose content is in `folder`, a new or an empty one, when the block succeeds.

    An existing folder stays: it may be where a shell is, or a file system is mounted.
    """
    if not folder.is_dir():
        with replacing(folder) as temporary:
            temporary.mkdir()
            yield temporary
        return
    with replacing(folder / ".content") as temporary:
        temporary.mkdir()
        yield temporary
    for path in (folder / ".content").iterdir():
        path.replace(folder / path.name)
    (folder / ".content").rmdir()


def sweep(folder: Path) -> None:
    """Remove the unfinished files of killed writers from a folder, and none that a writer may still be using."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:  # not made yet, or writable but not readable
        return
    for name in names:
        if (writer := _UNFINISHED.fullmatch(name)) and not _is_in_use(writer, folder / name):
            _remove(folder / name)


def is_abandoned(path: Path) -> bool:
    """Return whether the last write is so long ago that its writer must be dead."""
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _is_in_use(writer: re.Match[str], path: Path) -> bool:
    if writer["host"] != socket.gethostname():  # its processes can't be seen from this machine
        return not is_abandoned(path)
    try:
        os.kill(int(writer["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True


def _remove(path: Path) -> None:
    """Remove a file or a folder if it exists; another user's that can't be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return


def write_atomic(path: Path, data: bytes, *, sweeps: bool = True) -> None:
    """Replace a file at once: a reader sees all of the old one or all of the new one. `sweeps` as in `replacing`."""
    with replacing(path, sweeps=sweeps) as temporary:
        temporary.write_bytes(data)


def read_json(path: Path, kind: type[T]) -> T | None:
    """Return the value of a JSON file; None if it is missing, damaged or of another type."""
    try:
        return msgspec.json.decode(read_regular(path), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
