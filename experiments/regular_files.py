"""Reading of files: in the place of one may lie a named pipe, whose reader waits for ever, or a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind(mode: int) -> str:
    """Return the kind of file of a `st_mode`, for messages."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def check_regular(path: Path, mode: int) -> None:
    """Raise OSError unless this `st_mode` is that of a file."""
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind(mode)}, not a file", str(path))


def open_regular(path: Path) -> BinaryIO:
    """Open a file to be read. Raises OSError for anything but a file, or a link to one, without opening it."""
    check_regular(path, path.stat().st_mode)
    file: BinaryIO = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    check_regular(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced in between
    return file


def read_regular(path: Path) -> bytes:
    """Return the content of a file; raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
