"""`cebctl cancel`: what was cancelled."""

from __future__ import annotations

from cebctl.control.cancel import Cancelled
from cebctl.render.console import err
from experiments.matrix import Matrix
from jobs.home import STAGES


def show(matrix: Matrix, done: Cancelled) -> None:
    """One line, and another where something goes on."""
    console = err()
    if not done.targets:
        console.print(f"{matrix.path}: nothing to cancel, none of its {len(matrix.runs)} runs is queued or running")
        return
    parts = [f"{count} x {stage}" for stage in STAGES if (count := done.stages(stage))]
    running = f", {done.running} of them running" if done.running else ""
    console.print(f"{matrix.path}: cancelled {', '.join(parts)}{running}; `cebctl submit` offers them again")
    for host in done.out_of_reach:
        console.print(f"[yellow]goes on[/] on {host}, which can't be reached from here: call `cebctl cancel` there")
