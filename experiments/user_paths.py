"""Paths as users write them: in environment variables and in options."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path

from experiments import regular_files
from experiments.errors import InputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


def expand(text: str, where: str) -> Path:
    """Return the absolute path that a user means: one that exists, else with `~` and variables expanded.

    Raises InputError, which begins with `where`, for a URL, a control character, and a `~` or a variable without a
    meaning.
    """
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise InputError(where, f"{text!r} holds a control character", "name another path")
    if _is_there(Path(text)):
        return Path(text).absolute()
    if _URL.match(text):
        raise InputError(where, f"{text} is a URL", "name a folder or file of this machine")
    expanded = os.path.expandvars(text)
    if unset := _VARIABLE.search(expanded):
        raise InputError(where, f"{text}: the variable {unset[0]} is not set", "name the path itself")
    try:
        return Path(expanded).expanduser().absolute()
    except RuntimeError:
        raise InputError(where, f"{text}: there is no user of this name", "name the path itself") from None


def from_variable(variable: str, default: str | Path) -> Path:
    """Return the absolute path in an environment variable, as `expand` does, or the default if it is unset or empty."""
    text = os.environ.get(variable)
    return expand(text, variable) if text else Path(default).absolute()


def in_cache(variable: str, name: str) -> Path:
    """Return the absolute path in an environment variable, or the folder of this name among the user's caches.

    Raises InputError as `expand` does, and for a user without a home folder, as in some containers.
    """
    if os.environ.get(variable):
        return from_variable(variable, "")
    if os.environ.get("XDG_CACHE_HOME"):
        return from_variable("XDG_CACHE_HOME", "") / name
    try:
        return Path.home() / ".cache" / name
    except RuntimeError:
        raise InputError("HOME", "is not set, and this user has no entry in passwd", "set HOME") from None


def check_folder(folder: Path, where: str) -> Path:
    """Return the folder, which may not exist yet. Raises InputError if it can't: something else is in its place, or in
    that of a folder above it."""
    for path in (folder, *folder.parents):
        if path.is_dir():
            return folder
        if _is_there(path):
            raise InputError(where, f"{path} is {_kind(path)}, not a folder", "name another folder")
    return folder


def check_file(file: Path) -> None:
    """Raise InputError if there is anything but a regular file that a new one could replace."""
    if _is_there(file) and not stat.S_ISREG(file.lstat().st_mode):
        raise InputError(file, f"is {_kind(file)}, which is not replaced", "name a regular or a new file")


def _is_there(path: Path) -> bool:
    """Return whether there is anything, be it a link to nowhere."""
    return path.is_symlink() or path.exists()


def _kind(path: Path) -> str:
    return f"a link to {path.readlink()}" if path.is_symlink() else regular_files.kind(path.stat().st_mode)
