"""How this call talks: what the options that every command has ask for, and what the terminal can do."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass

_ROOMS = ("cebctl", "store", "jobs")


@dataclass
class Manner:
    """What was asked for so far; an option may stand before the command as well as behind it."""

    verbose: bool = False
    """What is done behind the scenes as well."""
    quiet: bool = False
    """Results and errors alone."""
    plain: bool = False
    """For screen readers, braille and grep: no boxes, no bars, no redraw, one fact per line."""
    debug: bool = False
    """Tracebacks."""


NOW = Manner()


def begin() -> None:
    """As the environment has it: CEBCTL_PLAIN and CEBCTL_DEBUG, set to anything, are the options of those names."""
    NOW.verbose = NOW.quiet = False
    NOW.plain = bool(os.environ.get("CEBCTL_PLAIN"))
    NOW.debug = bool(os.environ.get("CEBCTL_DEBUG"))
    for room in _ROOMS:
        logging.getLogger(room).handlers.clear()
    # Of a connection that a Ctrl-C closes it logs the traceback, where one line is due.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def ask(*, verbose: bool, quiet: bool, plain: bool, debug: bool) -> None:
    """Add what the options of this call ask for."""
    NOW.verbose |= verbose
    NOW.quiet |= quiet
    NOW.plain |= plain
    NOW.debug |= debug
    if verbose:
        _log_to_stderr()


def boxes() -> bool:
    """Whether help may be framed."""
    return not NOW.plain and os.environ.get("TERM") != "dumb"


def redraws() -> bool:
    """Whether stderr is a terminal that can be drawn over; never a log, whatever FORCE_COLOR says."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr.isatty() and not (dumb or NOW.plain or NOW.quiet or NOW.verbose)


def _log_to_stderr() -> None:
    """What is done behind the scenes, a line each: `10:40:07.123 squeue -h … (0.02 s)`."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")
    form.converter = time.localtime
    handler.setFormatter(form)
    for room in _ROOMS:
        logger = logging.getLogger(room)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
