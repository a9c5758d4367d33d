"""`cebctl gc`: what goes, what stays and why."""

from __future__ import annotations

from cebctl.control.gc import Collection
from cebctl.render.console import out, size
from experiments.matrix import Matrix


def show(matrix: Matrix, found: Collection, verb: str) -> None:
    """A line on what is freed, and one for each reason to keep something."""
    console = out()
    what = f"{found.files} files of {len(found.removals)} runs, {size(found.size)}" if found.removals else "nothing"
    console.print(f"{matrix.path}: {verb} {what}", soft_wrap=True, markup=False)
    for reason, runs in sorted(found.kept.items()):
        console.print(f"  {runs} {'run' if runs == 1 else 'runs'}: {reason}", soft_wrap=True, markup=False)
