"""Files and folders that are there complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED_SECONDS = 3600.0
"""Nobody is at work any more at an unfinished file as old as this, on whatever machine."""

_UNFINISHED = re.compile(r"\..+\.(?P<host>[^~/]+)~(?P<pid>\d+)\.part(\.[^.]*)?")
"""The name of one: `replacing` makes it, so that `sweep` removes nothing of anybody else's."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to make a file or a folder at; it takes the place of `path` when the block ends well,
    and is removed when it does not.

    A killed process can't remove its own: the next one that writes into the same folder does.
    """
    sweep(path.parent)
    # The suffix stays, because some writers go by it.
    beside = path.with_name(f".{path.stem}.{socket.gethostname()}~{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        _remove(beside)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder, and nothing that one may still be at work at."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:  # a folder that can be written to and not listed, or one that is yet to be made
        return
    for name in names:
        if (writer := _UNFINISHED.fullmatch(name)) and not _may_live(writer, folder / name):
            _remove(folder / name)


def is_abandoned(path: Path) -> bool:
    """Whether nobody has written to it for so long that nobody will."""
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _may_live(writer: re.Match[str], path: Path) -> bool:
    if writer["host"] != socket.gethostname():  # out of sight
        return not is_abandoned(path)
    try:
        os.kill(int(writer["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    """A file or a folder, if it is there; one of somebody else's that can't be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file in the place of what is there: whoever reads sees the old one or the new one, whole."""
    with replacing(path) as beside:
        beside.write_bytes(data)
