"""Families of runs: those of one objective on one network and one data set."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.matrix.planned_run import PlannedRun

FAMILY_SECTIONS = ("data", "network", "adversary")
"""Runs that differ in a field of these sections, or in their objective, are of different families."""


def family_axes(runs: Iterable[PlannedRun]) -> list[str]:
    """Return the axes whose values tell a run's family."""
    from experiments.matrix.spec_fields import schema
    from experiments.spec import Run

    tree = schema(Run)
    names = dict.fromkeys(key for run in runs for key in run.axes)
    return ["objective", *(key for key in names if key != "objective" and tree.resolve(key)[0] in FAMILY_SECTIONS)]
