"""rho* by the paper's rule: the lowest rho whose clean top-1 accuracy is within 0.1 point of the best (v2 section 3.2).

The paper selects on the test set and calls it cross-validation; so does this, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cebctl.report.cells import Cell, Row

TIE = 0.001
"""0.1 point, as a fraction."""


@dataclass(frozen=True)
class Selected:
    """The selected rho of one family."""

    rho: float
    run_ids: tuple[str, ...]
    rule: str = "lowest rho within 0.1 point of the best clean accuracy, on the test set"


def select_rho(rows: Sequence[Row]) -> dict[str, Selected]:
    """The selected row of every family (rows equal but for rho) in which several rho have a clean accuracy."""
    families: dict[str, list[tuple[float, float, Row]]] = {}
    for row in rows:
        clean = row.cells.get("clean")
        if "rho" in row.axes and isinstance(clean, Cell):
            families.setdefault(family(row.axes), []).append((row.axes["rho"], clean.value, row))
    selected = {}
    for name, members in families.items():
        best = max(accuracy for _, accuracy, _ in members)
        rho, _, row = min(
            (member for member in members if member[1] >= best - TIE - 1e-12), key=lambda member: member[0]
        )
        if len(members) > 1:
            selected[name] = Selected(rho, row.run_ids)
    return selected


def family(axes: Mapping[str, Any]) -> str:
    """The name of what a row has in common with the rows that differ in rho: `ceb`, `ceb depth=50`."""
    rest = [f"{key}={value}" for key, value in axes.items() if key not in ("objective", "rho")]
    return " ".join([str(axes["objective"]), *rest])
