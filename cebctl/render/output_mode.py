"""The output mode of this call: the options that every command has, and what the terminal can do."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass

from cebctl.text_output import visible

_LOGGERS = ("cebctl", "store", "jobs")


@dataclass
class OutputMode:
    """The options enabled so far; each may stand before the command or behind it."""

    verbose: bool = False
    """Log the calls to Slurm, the processes started and the journals read."""
    quiet: bool = False
    """Print results and errors only."""
    plain: bool = False
    """For screen readers, braille and grep: no boxes, no bars, no redraw, one fact per line."""
    debug: bool = False
    """Print tracebacks."""


current = OutputMode()


def reset() -> None:
    """Start from the environment: CEBCTL_PLAIN and CEBCTL_DEBUG, set to anything, enable the options of those names."""
    current.verbose = current.quiet = False
    current.plain = bool(os.environ.get("CEBCTL_PLAIN"))
    current.debug = bool(os.environ.get("CEBCTL_DEBUG"))
    for name in _LOGGERS:
        logging.getLogger(name).handlers.clear()
    # When Ctrl-C closes a connection, the pool logs a traceback; the user is to see one line.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def enable(*, verbose: bool = False, quiet: bool = False, plain: bool = False, debug: bool = False) -> None:
    """Add these options to the current mode."""
    current.verbose |= verbose
    current.quiet |= quiet
    current.plain |= plain
    current.debug |= debug
    if verbose:
        _log_to_stderr()


def use_boxes() -> bool:
    """Return True if help may be framed."""
    return not current.plain and os.environ.get("TERM") != "dumb"


def is_live() -> bool:
    """Return True if stderr is a terminal that can be redrawn; a log never is, even under FORCE_COLOR."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr.isatty() and not (dumb or current.plain or current.quiet or current.verbose)


class _VisibleFormatter(logging.Formatter):
    """A formatter of lines that may hold another program's output."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _log_to_stderr() -> None:
    """Log the loggers of our packages to stderr, a line each: `10:40:07.123 squeue -h … (0.02 s)`."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = _VisibleFormatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")
    formatter.converter = time.localtime
    handler.setFormatter(formatter)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
