"""rho* by the paper's rule: the lowest rho whose clean top-1 accuracy is within 0.1 point of the best (v2 section 3.2),
or the rho of the best mCE (v1 Figure 4), or the first rule by another column, such as held-out images.

A mean over fewer seeds is another number, so rho* is chosen among the rows that have all the seeds the matrix asks for;
where fewer than two have them it is chosen among all and says so.

Both papers select on the images they report, v2 calls it cross-validation; where that is done here the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cebctl.report.cells import ERRORS, Cell, Missing, Row
from experiments.matrix.planned_run import format_value

TIE = 0.001
"""0.1 point, as a fraction."""


@dataclass(frozen=True)
class Rule:
    """By what rho* is chosen."""

    column: str
    within: float
    """As good as the best: a fraction, inclusive."""
    text: str


@dataclass(frozen=True)
class Selected:
    """The selected rho of one family."""

    rho: float
    run_ids: tuple[str, ...]
    rule: str
    column: str
    among: tuple[float, ...]
    """Every rho of the family that it was chosen among."""
    without: tuple[float, ...]
    """Every rho of the family that does not have it yet."""
    not_comparable: str = ""
    """Why the number it was chosen by may not be compared with the paper's; '' if it may."""
    """Every rho of the family that does not have the number yet."""
    incomplete: tuple[float, ...] = ()
    """Every rho of the family whose number lacks a seed."""
    complete: bool = True
    """It was chosen among complete rows; if not, `among` holds those of `incomplete` too."""


RULES = {
    "clean": Rule("clean", TIE, "lowest rho within 0.1 point of the best clean accuracy, on the test set (v2)"),
    "mce": Rule("mce", 0.0, "lowest rho of the best mCE, on the test set (v1)"),
    "clean_holdout": Rule(
        "clean_holdout",
        TIE,
        "lowest rho within 0.1 point of the best accuracy on held-out training images (clean_holdout), which no other "
        "column reports",
    ),
}
"""By the `rho_star` of a matrix's report."""


def select_rho(rows: Sequence[Row], by: Rule) -> dict[str, Selected]:
    """The selected row of every family (rows equal but for rho) in which several rho have the rule's number."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if "rho" in row.axes:
            families.setdefault(family_name(row.axes), []).append(row)
    found = {name: _select(members, by) for name, members in families.items()}
    return {name: chosen for name, chosen in found.items() if chosen is not None}


def _select(members: Sequence[Row], by: Rule) -> Selected | None:
    # The number of a row whose target was not in force is of another rho.
    by_rule = [(row, None if row.last_rho else _cell(row, by.column)) for row in members]
    cells = [(row, cell) for row, cell in by_rule if isinstance(cell, Cell)]
    full = [(row, cell) for row, cell in cells if not cell.absent]
    complete = len(full) > 1
    candidates = full if complete else cells
    if len(candidates) < 2:
        return None
    best = min(_loss(cell) for _, cell in candidates)
    good = [row for row, cell in candidates if _loss(cell) <= best + by.within + 1e-12]
    chosen = min(good, key=lambda row: row.axes["rho"])
    among, incomplete = _rhos(candidates), _rhos([(row, cell) for row, cell in cells if cell.absent])
    without = tuple(sorted({row.axes["rho"] for row in members} - {*_rhos(cells)}))
    why_not = next((cell.not_comparable for _, cell in by_rule if cell and cell.not_comparable), "")
    return Selected(
        chosen.axes["rho"], chosen.run_ids, by.text, by.column, among, without, why_not, incomplete,
        complete or not incomplete,
    )  # fmt: skip


def _cell(row: Row, column: str) -> Cell | Missing | None:
    """Return the row's cell in a column, or in the first that the name is short for."""
    return next((cell for name, cell in row.cells.items() if name.partition("@")[0] == column), None)


def _rhos(rows: Sequence[tuple[Row, Cell]]) -> tuple[float, ...]:
    return tuple(sorted(row.axes["rho"] for row, _ in rows))


def _loss(cell: Cell) -> float:
    return cell.value if cell.measure in ERRORS else 1 - cell.value


def family_name(axes: Mapping[str, Any]) -> str:
    """The name of what a row has in common with the rows that differ in rho: `ceb`, `ceb depth=50`."""
    rest = [f"{key}={format_value(value)}" for key, value in axes.items() if key not in ("objective", "rho")]
    return " ".join([str(axes["objective"]), *rest])
