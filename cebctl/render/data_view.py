"""The output of `cebctl data`: a table of data sets, and a progress bar while one is fetched."""

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
from experiments.benchmarks import CORRUPTIONS, CORRUPTIONS_3D
from experiments.errors import InputError
from experiments.needed_images import NeededImages
from jobs.datasets import download, test_sets
from jobs.datasets.dataset_status import dataset_status

_HEADS = ("data set", "state", "images", "classes", "detail")
_STATE_STYLES = {"ready": "green", "damaged": "red", "missing": "dim"}


def print_datasets(root: Path) -> None:
    """Print a line for each data set, then for each published test set."""
    rows = [
        (status.name, status.state, *_sizes(status.name), status.detail)
        for status in (dataset_status(name, root) for name in datasets.names())
    ]
    for name, declared in datasets.OTHER_TEST_SETS.items():
        status = test_sets.images_status(NeededImages(name, _corruptions(name)), root)
        sets = f" x {len(_corruptions(name)) * 5}" if declared.corrupted else ""
        rows.append((name, status.state, f"{declared.images:,}{sets}", str(declared.classes), status.detail))
    console = result_console()
    console.print(wrap(f"CEBCTL_DATA {root}", terminal_width()), markup=False, soft_wrap=True)
    if terminal_width() < sum(max(map(len, column)) + 2 for column in zip(_HEADS, *rows, strict=True)) - 2:
        _print_narrow(console, rows)
        return
    table = Table(*_HEADS, box=None, pad_edge=False)
    for name, state, *details in rows:
        table.add_row(name, f"[{_STATE_STYLES[state]}]{state}[/]", *map(escape, details))
    print_table(console, table)


def _corruptions(name: str) -> tuple[str, ...]:
    """Return the corruptions of a set of corrupted images that benchmarks read first."""
    if not datasets.OTHER_TEST_SETS[name].corrupted:
        return ()
    return CORRUPTIONS_3D if name == "imagenet-3dcc" else CORRUPTIONS


def _print_narrow(console: Console, rows: Sequence[Sequence[str]]) -> None:
    """Print the columns of numbers that fit, and the detail of each data set on a line of its own."""
    heads, cells = fit_columns(_HEADS[:-1], [row[:-1] for row in rows], ("classes", "images"), {})
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line, detail in zip([heads, *cells], ["", *(row[-1] for row in rows)], strict=True):
        plain = "" if detail else "bold"
        parts = [
            Text(cell.ljust(width), _STATE_STYLES.get(cell, plain)) for cell, width in zip(line, widths, strict=True)
        ]
        console.print(Text("  ").join(parts), soft_wrap=True)
        if detail:
            console.print(wrap(f"    {detail}", terminal_width(), "    "), markup=False, soft_wrap=True)


def _sizes(name: str) -> tuple[str, str]:
    """Return the numbers of images and classes; nothing if the description of a user's own set is damaged."""
    try:
        info = datasets.info(name)
    except InputError:
        return "", ""
    return f"{info.train:,} + {info.test:,}", str(info.classes)


def fetch_with_progress(name: str, root: Path) -> None:
    """Fetch a data set, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    console = progress_console()
    with Progress(*columns, console=console, transient=True, disable=not output_mode.is_live()) as bars:

        def update(file: str, received: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=received, total=total)

        folder = download.fetch(name, root, update)
    console.print(f"{name}: at {escape(str(folder))}, checksums verified")
