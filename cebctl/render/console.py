"""The two streams: results on stdout, progress and errors on stderr. Rich decides on colours."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cebctl.render import output_mode
from cebctl.text_output import visible, write_json

_UNLIMITED_WIDTH = 100_000
"""Columns. Without a terminal a fact stays on its line: grep reads it, and a viewer wraps it."""
_LARGE = 1e6
"""A measure that has diverged would fill its column with digits that mean nothing."""


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: `1 run`, `16 runs`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_decimals(value: float, digits: int, sign: str = "") -> str:
    """Return a number with this many decimals; from a million on, with three digits and a power of ten.

    A `sign` of "+" is written before positive numbers too.
    """
    return f"{value:{sign}.{digits}f}" if abs(value) < _LARGE else f"{value:{sign}.3g}"


class VisibleConsole(Console):
    """A console whose text steers no terminal: only rich's own control codes and styles do."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)  # before columns are measured

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:  # a link's address is text too, and we set none
                style = segment.style.update_link(None) if segment.style and segment.style.link else segment.style
                yield Segment(visible(segment.text), style)


def result_console() -> Console:
    """Return the console of results, on stdout.

    A terminal wraps lines between words. Elsewhere each fact stays on its line, and the parts of a report's table are
    100 columns wide.
    """
    if output_mode.current.plain:
        width = _UNLIMITED_WIDTH
        return VisibleConsole(highlight=False, emoji=False, color_system=None, width=width, soft_wrap=True)
    is_terminal = sys.stdout.isatty()
    columns = None if is_terminal else 100
    return VisibleConsole(highlight=False, emoji=False, width=columns, soft_wrap=not is_terminal)


def error_console() -> Console:
    """Return the console of errors, failed runs and warnings, on stderr; lines wrap as in `result_console`."""
    colours: dict[str, Any] = {"color_system": None} if output_mode.current.plain else {}
    wraps = sys.stderr.isatty() and not output_mode.current.plain
    return VisibleConsole(stderr=True, highlight=False, emoji=False, soft_wrap=not wraps, **colours)


def progress_console() -> Console:
    """Return the console of progress and of work done, on stderr; it is silent under --quiet."""
    console = error_console()
    console.quiet = output_mode.current.quiet
    return console


def terminal_width() -> int:
    """Return the columns of the terminal on stdout, or a practically unlimited number where there is none."""
    return result_console().width if sys.stdout.isatty() and not output_mode.current.plain else _UNLIMITED_WIDTH


def wrap(text: str, width: int, indent: str = "") -> str:
    """Return one line as lines of at most `width`, broken between words; long words stay whole."""
    return textwrap.fill(text, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def fit_columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], least: Mapping[str, int]
) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows without the columns that do not fit the terminal.

    The columns of `spare` are dropped in this order until the others fit; a column of `least` may be wrapped to that
    many characters. Under --plain, and without a terminal, all columns stay.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    needed = [min(width, least.get(head, width)) for head, width in zip(heads, widths, strict=True)]
    columns = list(range(len(heads)))
    for name in spare:
        if sum(needed[column] + 2 for column in columns) - 2 <= terminal_width():
            break
        columns.remove(heads.index(name))
    return [heads[column] for column in columns], [[row[column] for column in columns] for row in rows]


def print_table(console: Console, table: Table, label: int = 1) -> None:
    """Print a table, at its full width where there is no terminal.

    Under --plain print a line for each cell that is not empty, after the first `label` cells of its row:
    `ceb: runs: 6`.
    """
    if not output_mode.current.plain:
        # In a pipe rich would fold cells at 100 columns.
        width, console.width = console.width, max(console.width, terminal_width())
        console.print(table)
        console.width = width
        return
    heads = [_plain_text(column.header) for column in table.columns]
    for row in zip(*(list(column.cells) for column in table.columns), strict=True):
        cells = [_plain_text(cell) for cell in row]
        print_facts(console, " ".join(filter(None, cells[:label])), heads[label:], cells[label:])


def print_facts(console: Console, label: str, names: Sequence[str], values: Sequence[str]) -> None:
    """Print `label: name: value`, a line for each value that is not empty."""
    for name, value in zip(names, values, strict=True):
        if value:
            console.print(": ".join(filter(None, (label, name, value))), markup=False)


def _plain_text(cell: Any) -> str:
    """Return a cell's text on one line and without markup."""
    return " ".join((cell if isinstance(cell, Text) else Text.from_markup(str(cell))).plain.split())


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    write_json(msgspec.json.format(msgspec.json.encode(value)).decode())


def confirm(question: str, *, abort: bool = False) -> bool:
    """Ask a question on stderr and return the answer; with `abort`, end the command after a no."""
    return typer.confirm(visible(question), abort=abort, err=True)


def format_duration(seconds: float) -> str:
    """Return a time span in its two largest units: `45 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    total = round(seconds)
    for unit, length, lesser, lesser_length in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if total >= length:
            remainder = total % length // lesser_length
            return f"{total // length} {unit}" + (f" {remainder} {lesser}" if remainder else "")
    return f"{total} s"


def format_size(count: float) -> str:
    """Return a number of bytes in powers of 1000: `512 B`, `1.5 MB`, `2.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
