"""The errors that a user can cause or meet, each with its exit code.

    CebctlError                     1
    ├── InputError                  2   the user's input is wrong
    │   └── MatrixError             2   faults in a matrix file, every one with its line and column
    └── UnreachableError            3   the cluster or the store can't be reached

An exception takes facts and builds its own message. Only `cebctl.app` turns one into an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class CebctlError(Exception):
    """An error that is reported as a message instead of a traceback."""

    exit_code = 1


class InputError(CebctlError):
    """The user's input is wrong: `where: what is wrong; what is allowed`."""

    exit_code = 2

    def __init__(self, where: str | Path, wrong: str, allowed: str = "") -> None:
        text = f"{where}: {wrong}" + (f"; {allowed}" if allowed else "")
        # A file's name may be bytes that are no text: they are spelled `\\xe9`.
        super().__init__(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


class UnreachableError(CebctlError):
    """The cluster or the store can't be reached: `target: reason`."""

    exit_code = 3

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(f"{target}: {reason}")


@dataclass(frozen=True, order=True)
class Fault:
    """One fault of a matrix file. `line` and `column` count from 1."""

    line: int
    column: int
    message: str


class MatrixError(InputError):
    """All faults of one matrix file, in its order, a line each."""

    def __init__(self, file: str | Path, faults: Iterable[Fault]) -> None:
        self.file = file
        self.faults = sorted(set(faults))
        lines = [f"{file}:{fault.line}:{fault.column}: {fault.message}" for fault in self.faults]
        CebctlError.__init__(self, "\n".join(lines))


def expected(allowed: Iterable[str], text: str) -> str:
    """Return the allowed names in words, with the one closest to `text` first: `did you mean 'rho'? (allowed: …)`."""
    names = sorted(allowed)
    close = difflib.get_close_matches(text, names, n=1)
    listing = f"allowed: {', '.join(names)}"
    return f"did you mean {close[0]!r}? ({listing})" if close else listing
