"""`cebctl gc`: what goes, what stays and why."""

from __future__ import annotations

from cebctl.maintenance.checkpoint_gc import GarbagePlan
from cebctl.render.console import format_size, pluralize, result_console
from experiments.matrix.planned_run import Matrix


def show(matrix: Matrix, found: GarbagePlan, verb: str) -> None:
    """A line on what is freed, and one for each reason to keep something."""
    console = result_console()
    files, runs = pluralize(found.files, "file"), pluralize(len(found.removals), "run")
    what = f"{files} of {runs}, {format_size(found.size)}" if found.removals else "nothing"
    console.print(f"{matrix.path}: {verb} {what}", markup=False)
    for reason, kept in sorted(found.kept_runs.items()):
        console.print(f"  {pluralize(kept, 'run')}: {reason}", markup=False)
