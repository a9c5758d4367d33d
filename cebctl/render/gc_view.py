"""`cebctl gc`: what goes, what stays and why."""

from __future__ import annotations

from cebctl.maintenance.checkpoint_gc import GarbagePlan
from cebctl.render.console import many, out, size
from experiments.matrix.planned_run import Matrix


def show(matrix: Matrix, found: GarbagePlan, verb: str) -> None:
    """A line on what is freed, and one for each reason to keep something."""
    console = out()
    files, runs = many(found.files, "file"), many(len(found.removals), "run")
    what = f"{files} of {runs}, {size(found.size)}" if found.removals else "nothing"
    console.print(f"{matrix.path}: {verb} {what}", markup=False)
    for reason, kept in sorted(found.kept_runs.items()):
        console.print(f"  {many(kept, 'run')}: {reason}", markup=False)
