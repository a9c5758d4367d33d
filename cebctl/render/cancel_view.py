"""The output of `cebctl cancel`."""

from __future__ import annotations

from rich.markup import escape

from cebctl.render.console import error_console, progress_console
from cebctl.submission.cancel import Cancellation
from experiments.matrix.planned_run import Matrix
from jobs.paths import STAGES


def print_cancellation(matrix: Matrix, cancellation: Cancellation) -> None:
    """Print what was cancelled, what was left to other users, and what could not be stopped."""
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
    console.print(
        f"{matrix.path}: cancelled {', '.join(parts)}{running}; `cebctl submit` offers them again", markup=False
    )
