"""The output of `cebctl cancel`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from cebctl.render.console import error_console, pluralize, progress_console
from cebctl.status.earlier_texts import EarlierRun, cancelling_command
from cebctl.submission.cancel import Cancellation
from experiments.matrix.planned_run import Matrix
from jobs.paths import STAGES


def print_left(matrix: Matrix, earlier: Sequence[EarlierRun]) -> None:
    """Say which runs of an earlier text of a matrix go on, and what cancels them."""
    hint = f"`{cancelling_command(earlier)}` stops them"
    text = f"{pluralize(len(earlier), 'run')} of an earlier text of {matrix.path}, under way: {hint}"
    error_console().print(f"[yellow]goes on[/] {escape(text)}")


def print_cancellation(matrix: Matrix, cancellation: Cancellation, *, from_file: bool) -> None:
    """Print what was cancelled, what was left to other users, and what could not be stopped. Runs that are not
    `from_file` may be of no text any more, so that no `submit` offers them."""
    console = progress_console()
    for user, stages in cancellation.others.items():
        console.print(f"{matrix.path}: {stages} of {user}'s left alone; --others cancels them too", markup=False)
    for place in cancellation.out_of_reach:
        error_console().print(f"[yellow]goes on[/] on {escape(place)}")
    if not cancellation.targets:
        if not cancellation.others and not cancellation.out_of_reach:
            console.print(
                f"{matrix.path}: nothing to cancel, none of its {len(matrix.runs)} runs is queued or running",
                markup=False,
            )
        return
    parts = [f"{count} x {stage}" for stage in STAGES if (count := cancellation.stages(stage))]
    running = f", {cancellation.running} of them running" if cancellation.running else ""
    again = "offers them again" if from_file else "offers again what its matrix asks for"
    console.print(f"{matrix.path}: cancelled {', '.join(parts)}{running}; `cebctl submit` {again}", markup=False)
