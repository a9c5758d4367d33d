"""Families of runs: those of one objective on one network and one data set."""

from __future__ import annotations

from experiments.matrix.planned_run import Matrix

FAMILY_SECTIONS = ("data", "network", "adversary")
"""Runs that differ in a field of these sections, or in their objective, are of different families."""


def family_axes(matrix: Matrix) -> list[str]:
    """Return the axes whose values tell a run's family."""
    tree = matrix.parts.schema
    names = dict.fromkeys(key for run in matrix.runs for key in run.axes)
    return ["objective", *(key for key in names if key != "objective" and tree.resolve(key)[0] in FAMILY_SECTIONS)]
