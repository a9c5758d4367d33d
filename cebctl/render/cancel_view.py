"""`cebctl cancel`: what was cancelled."""

from __future__ import annotations

from cebctl.render.console import error_console, progress_console
from cebctl.submission.cancel import Cancellation
from experiments.matrix.planned_run import Matrix
from jobs.paths import STAGES


def show(matrix: Matrix, done: Cancellation) -> None:
    """One line, and another where something goes on."""
    console = progress_console()
    for user, stages in done.others.items():
        console.print(f"{matrix.path}: {stages} of {user}'s left alone; --others cancels them too", markup=False)
    for where in done.out_of_reach:
        error_console().print(f"[yellow]goes on[/] on {where}")
    if not done.targets:
        if not done.others and not done.out_of_reach:
            console.print(f"{matrix.path}: nothing to cancel, none of its {len(matrix.runs)} runs is queued or running")
        return
    parts = [f"{count} x {stage}" for stage in STAGES if (count := done.stages(stage))]
    running = f", {done.running} of them running" if done.running else ""
    console.print(f"{matrix.path}: cancelled {', '.join(parts)}{running}; `cebctl submit` offers them again")
