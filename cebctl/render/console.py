"""The two streams: results on stdout, progress and errors on stderr; NO_COLOR and a non-tty are rich's business."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from rich.console import Console

from cebctl.render.vocabulary import LOOKS

STATE_STYLE = {state: look.terminal for state, look in LOOKS.items()}


def out() -> Console:
    """Results. Where nobody looks it is 100 columns wide, so that a file or a pipe gets whole tables."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def err() -> Console:
    """Progress and messages."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def duration(seconds: float) -> str:
    """A time span for people: `45 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(count: float) -> str:
    """A number of bytes for people: `512 B`, `1.5 MB`, `2.0 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
