"""The two streams: results on stdout, news and errors on stderr; NO_COLOR and a non-tty are rich's business."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cebctl.render import output_mode
from cebctl.render.state_styles import LOOKS

STATE_STYLE = {state: look.terminal for state, look in LOOKS.items()}


_ENDLESS = 100_000
"""Characters: a line that is one fact is broken by whoever shows it, not here."""
_LARGE = 1e6
"""From here on a measure that has exploded would fill its column with digits that mean nothing."""


def many(count: int, what: str) -> str:
    """A count in words: `1 run`, `16 runs`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def decimals(value: float, digits: int, sign: str = "") -> str:
    """Return a number with this many decimals, of one from a million on three digits and its power of ten.

    A `sign` of "+" is written before positive numbers.
    """
    return f"{value:{sign}.{digits}f}" if abs(value) < _LARGE else f"{value:{sign}.3g}"


def out() -> Console:
    """Results: on a terminal broken between words, elsewhere a fact a line and the parts of a report's table of 100
    columns."""
    if output_mode.NOW.plain:
        return Console(highlight=False, emoji=False, color_system=None, width=_ENDLESS, soft_wrap=True)
    seen = sys.stdout.isatty()
    return Console(highlight=False, emoji=False, width=None if seen else 100, soft_wrap=not seen)


def err() -> Console:
    """What has to be said: errors, failures, warnings; broken as in `out`."""
    given: dict[str, Any] = {"color_system": None} if output_mode.NOW.plain else {}
    wrap = sys.stderr.isatty() and not output_mode.NOW.plain
    return Console(stderr=True, highlight=False, emoji=False, soft_wrap=not wrap, **given)


def news() -> Console:
    """Progress, and what was done: on stderr too, but silent under --quiet."""
    console = err()
    console.quiet = output_mode.NOW.quiet
    return console


def room() -> int:
    """Columns that whoever reads stdout sees; where nobody looks, as many as there are."""
    return out().width if sys.stdout.isatty() and not output_mode.NOW.plain else _ENDLESS


def broken(text: str, width: int, indent: str = "") -> str:
    """A line as lines of this width, broken between words; what is longer than one, as a path may be, stays whole."""
    return textwrap.fill(text, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def fitting(
    heads: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], least: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """The columns that fit the terminal: those of `spare` go, in this order, until the rest does. A column of `least`
    is broken into lines of as many characters; under --plain and where nobody looks all stay."""
    wide = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    needed = [min(width, least.get(head, width)) for head, width in zip(heads, wide, strict=True)]
    shown = list(range(len(heads)))
    for name in spare:
        if sum(needed[column] + 2 for column in shown) - 2 <= room():
            break
        shown.remove(heads.index(name))
    return [heads[column] for column in shown], [[row[column] for column in shown] for row in rows]


def print_table(console: Console, table: Table, label: int = 1) -> None:
    """A table, as wide as it is where nobody looks; under --plain a line for each cell that is not empty, behind what
    stands in the first `label` columns of its row: `ceb: runs: 6`."""
    if not output_mode.NOW.plain:
        width, console.width = console.width, max(console.width, room())
        console.print(table)
        console.width = width
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
