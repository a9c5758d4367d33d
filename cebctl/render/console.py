"""The two streams: results on stdout, news and errors on stderr; NO_COLOR and a non-tty are rich's business."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cebctl.render import manner
from cebctl.render.vocabulary import LOOKS

STATE_STYLE = {state: look.terminal for state, look in LOOKS.items()}


_ENDLESS = 100_000
"""Characters: a line that is one fact is broken by whoever shows it, not here."""


def out() -> Console:
    """Results. Where nobody looks it is 100 columns wide, so that a file or a pipe gets whole tables."""
    if manner.NOW.plain:
        return Console(highlight=False, color_system=None, width=_ENDLESS, soft_wrap=True)
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def err() -> Console:
    """What has to be said: errors, failures, warnings."""
    return Console(stderr=True, highlight=False, soft_wrap=True, **_unstyled())


def news() -> Console:
    """Progress, and what was done: on stderr too, but silent under --quiet."""
    return Console(stderr=True, highlight=False, soft_wrap=True, quiet=manner.NOW.quiet, **_unstyled())


def _unstyled() -> dict[str, Any]:
    return {"color_system": None} if manner.NOW.plain else {}


def print_table(console: Console, table: Table, label: int = 1) -> None:
    """A table as it is; under --plain a line for each cell that is not empty, behind what stands in the first `label`
    columns of its row: `ceb: runs: 6`."""
    if not manner.NOW.plain:
        console.print(table)
        return
    heads = [_words(column.header) for column in table.columns]
    for row in zip(*(list(column.cells) for column in table.columns), strict=True):
        cells = [_words(cell) for cell in row]
        print_facts(console, " ".join(filter(None, cells[:label])), heads[label:], cells[label:])


def print_facts(console: Console, label: str, names: Sequence[str], values: Sequence[str]) -> None:
    """`label: name: value`, a line for each value that is not empty."""
    for name, value in zip(names, values, strict=True):
        if value:
            console.print(": ".join(filter(None, (label, name, value))), markup=False)


def _words(cell: Any) -> str:
    """A cell's text, on one line and without markup."""
    return " ".join((cell if isinstance(cell, Text) else Text.from_markup(str(cell))).plain.split())


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
