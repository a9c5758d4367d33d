"""The output of `cebctl gc`."""

from __future__ import annotations

from cebctl.maintenance.checkpoint_gc import GarbagePlan
from cebctl.render.console import format_size, pluralize, result_console
from experiments.matrix.planned_run import Matrix


def print_garbage_plan(matrix: Matrix, plan: GarbagePlan, verb: str) -> None:
    """Print what is freed, and for each reason how many runs keep a checkpoint."""
    console = result_console()
    files, runs = pluralize(plan.files, "file"), pluralize(len(plan.removals), "run")
    freed = f"{files} of {runs}, {format_size(plan.size)}" if plan.removals else "nothing"
    console.print(f"{matrix.path}: {verb} {freed}", markup=False)
    for reason, count in sorted(plan.kept_runs.items()):
        console.print(f"  {pluralize(count, 'run')}: {reason}", markup=False)
