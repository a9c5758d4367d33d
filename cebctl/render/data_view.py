"""`cebctl data`: the data sets on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cebctl.render import output_mode
from cebctl.render.console import fit_columns, print_table, progress_console, result_console, terminal_width, wrap
from experiments import datasets
from experiments.errors import InputError
from jobs.datasets import download as fetching

_HEADS = ("data set", "state", "images", "classes", "detail")
_STYLE = {"ready": "green", "damaged": "red", "missing": "dim"}


def show(root: Path) -> None:
    """A line for each data set."""
    rows = [
        (name, there.state, *_sizes(name), there.detail)
        for name in datasets.names()
        for there in (fetching.dataset_status(name, root),)
    ]
    console = result_console()
    console.print(wrap(f"CEBCTL_DATA {root}", terminal_width()), markup=False, soft_wrap=True)
    if terminal_width() < sum(max(map(len, column)) + 2 for column in zip(_HEADS, *rows, strict=True)) - 2:
        _narrow(console, rows)
        return
    table = Table(*_HEADS, box=None, pad_edge=False)
    for name, state, *others in rows:
        table.add_row(name, f"[{_STYLE[state]}]{state}[/]", *map(escape, others))
    print_table(console, table)


def _narrow(console: Console, rows: Sequence[Sequence[str]]) -> None:
    """The columns of numbers that fit, and below each data set what else is said of it."""
    heads, cells = fit_columns(_HEADS[:-1], [row[:-1] for row in rows], ("classes", "images"), {})
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line, detail in zip([heads, *cells], ["", *(row[-1] for row in rows)], strict=True):
        plain = "" if detail else "bold"
        parts = [Text(cell.ljust(width), _STYLE.get(cell, plain)) for cell, width in zip(line, widths, strict=True)]
        console.print(Text("  ").join(parts), soft_wrap=True)
        if detail:
            console.print(wrap(f"    {detail}", terminal_width(), "    "), markup=False, soft_wrap=True)


def _sizes(name: str) -> tuple[str, str]:
    """Images and classes, unless the description of a user's own set is damaged."""
    try:
        info = datasets.info(name)
    except InputError:
        return "", ""
    return f"{info.train:,} + {info.test:,}", str(info.classes)


def fetch(name: str, root: Path) -> None:
    """Fetch with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    console = progress_console()
    with Progress(*columns, console=console, transient=True, disable=not output_mode.is_live()) as bars:

        def progress(file: str, at_hand: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=at_hand, total=total)

        folder = fetching.fetch(name, root, progress)
    console.print(f"{name}: at {escape(str(folder))}, checksums verified")
