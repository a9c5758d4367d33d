"""`cebctl data`: the data sets on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from cebctl.render import manner
from cebctl.render.console import news, out, print_table
from experiments import datasets
from experiments.errors import InputError
from jobs import fetch as fetching

_STYLE = {"ready": "green", "damaged": "red", "missing": "dim"}


def show(root: Path) -> None:
    """A line for each data set."""
    table = Table(box=None, pad_edge=False)
    for name in ("data set", "state", "images", "classes", "detail"):
        table.add_column(name, overflow="fold")
    for name in datasets.names():
        there = fetching.present(name, root)
        state = f"[{_STYLE[there.state]}]{there.state}[/]"
        table.add_row(name, state, *_sizes(name), escape(there.detail))
    console = out()
    console.print(f"CEBCTL_DATA {escape(str(root))}")
    print_table(console, table)


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
    console = news()
    with Progress(*columns, console=console, transient=True, disable=not manner.redraws()) as bars:

        def progress(file: str, at_hand: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=at_hand, total=total)

        folder = fetching.fetch(name, root, progress)
    console.print(f"{name}: at {escape(str(folder))}, checksums verified")
