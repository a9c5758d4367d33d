"""The standard streams of a command, any of which may be closed, full, or a pipe that nobody reads any more.

A command that can't print goes on to its end, so that its exit code means what it always does.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class _Descriptor(io.FileIO):
    """A descriptor that drops what is written after a write has failed."""

    error: OSError | None = None
    """The error of the first write that failed."""

    def write(self, data: object, /) -> int:
        if self.error is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes  # type: ignore[arg-type]


def guard() -> None:
    """Put streams in the place of stdout and stderr that never raise, and open what is closed on the null device.

    A file that is opened later would get the number of a closed one, and what a child process prints would be in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The new descriptor gets the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _guarded(1, sys.stdout), _guarded(2, sys.stderr)


def _guarded(number: int, stream: TextIO | None) -> TextIO:
    is_terminal = os.isatty(number)
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "backslashreplace",
        line_buffering=is_terminal or number == 2,
        write_through=isinstance(stream, io.TextIOWrapper) and stream.write_through,
    )


def output_error() -> OSError | None:
    """Return the error of the first write to stdout that failed, as far as it was flushed; None if there is none."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Descriptor) else None
