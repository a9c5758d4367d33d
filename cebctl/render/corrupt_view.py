"""The output of `cebctl corrupt`: a bar while files are written, then what was written and what was left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cebctl.render import output_mode
from cebctl.render.console import error_console, pluralize, print_json, progress_console
from cebctl.render.status_view import print_warnings

if TYPE_CHECKING:
    from jobs.engine.corruptions.write_folder import Written

_SECONDS_BETWEEN_LINES = 60.0
_LISTED = 3
"""The unreadable images that are named."""


def show_progress(write: Callable[..., Written]) -> Written:
    """Call `write(progress=…)`, with a bar on stderr; where there is no terminal, with a line a minute."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without automatic refreshes there is no thread, beside which processes could not be forked safely.
    with Progress(
        *columns, console=progress_console(), transient=True, disable=not output_mode.is_live(), auto_refresh=False
    ) as bars:
        files = bars.add_task("files", total=None)
        printed = time.monotonic()

        def update(done: int, total: int) -> None:
            nonlocal printed
            bars.update(files, completed=done, total=total, refresh=True)
            if bars.disable and time.monotonic() - printed > _SECONDS_BETWEEN_LINES:
                progress_console().print(f"{done:,} of {total:,} files")
                printed = time.monotonic()

        return write(progress=update)


def print_written(written: Written, out: Path, *, as_json: bool) -> None:
    """Print the numbers of files, and the images that have none."""
    if as_json:
        print_json({"out": str(out), **asdict(written)})
    print_warnings(written.notes)
    text = f"{out}: {pluralize(written.written, 'file')} written"
    text += f", {written.present:,} were there" if written.present else ""
    text += f": {pluralize(written.images, 'image')} in {pluralize(written.sets, 'set')}"
    progress_console().print(text, markup=False)
    if written.unreadable:
        reasons = [f"{name} ({reason})" for name, reason in written.unreadable.items()]
        listed = ", ".join(reasons[:_LISTED]) + ", …" * (len(reasons) > _LISTED)
        error_console().print(f"left out: {pluralize(len(reasons), 'image')}: {listed}", markup=False)
