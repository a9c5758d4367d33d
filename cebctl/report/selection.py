"""The choice of rho* by the papers' rules.

v2 section 3.2 takes the lowest rho whose clean top-1 accuracy is within 0.1 point of the best, v1 Figure 4 that of the
best mCE. The first rule also works with another column, such as held-out images.

A mean over fewer seeds is another number, so rho* is chosen among the rows with all seeds of the matrix. If fewer than
two rows have them, it is chosen among all rows, and a note says so.

Both papers select on the images that they report (v2 calls it cross-validation); where a report does so, it says so.
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
    """A rule to choose rho*."""

    column: str
    within: float
    """The distance from the best that still counts as the best: a fraction, inclusive."""
    text: str


@dataclass(frozen=True)
class Selected:
    """The selected rho of one family."""

    rho: float
    run_ids: tuple[str, ...]
    rule: str
    column: str
    among: tuple[float, ...]
    """The candidates: each rho of the family with the number."""
    without: tuple[float, ...]
    """Every rho of the family that does not have the number yet."""
    not_comparable: str = ""
    """The reason why the number of the choice may not be compared with the paper's; '' if it may."""
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
"""By `rho_star` of a matrix's report section."""


def select_rho(rows: Sequence[Row], rule: Rule) -> dict[str, Selected]:
    """Return the chosen rho of every family (rows that differ in rho only) in which several rho have the number."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if "rho" in row.axes:
            families.setdefault(family_name(row.axes), []).append(row)
    choices = {name: _select(members, rule) for name, members in families.items()}
    return {name: chosen for name, chosen in choices.items() if chosen is not None}


def _select(members: Sequence[Row], rule: Rule) -> Selected | None:
    # The number of a row whose target was not in force is of another rho.
    by_rule = [(row, None if row.last_rho else _cell(row, rule.column)) for row in members]
    cells = [(row, cell) for row, cell in by_rule if isinstance(cell, Cell)]
    complete_cells = [(row, cell) for row, cell in cells if not cell.absent]
    complete = len(complete_cells) > 1
    candidates = complete_cells if complete else cells
    if len(candidates) < 2:
        return None
    best = min(_loss(cell) for _, cell in candidates)
    # 1e-12: a rho that is exactly `within` of the best counts, whatever floats make of the sum.
    near_best = [row for row, cell in candidates if _loss(cell) <= best + rule.within + 1e-12]
    chosen = min(near_best, key=lambda row: row.axes["rho"])
    among, incomplete = _rhos(candidates), _rhos([(row, cell) for row, cell in cells if cell.absent])
    without = tuple(sorted({row.axes["rho"] for row in members} - {*_rhos(cells)}))
    why_not = next((cell.not_comparable for _, cell in by_rule if cell and cell.not_comparable), "")
    return Selected(
        chosen.axes["rho"], chosen.run_ids, rule.text, rule.column, among, without, why_not, incomplete,
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
    """Return the name that a row shares with the rows that differ in rho only: `ceb`, `ceb depth=50`."""
    fields = [f"{key}={format_value(value)}" for key, value in axes.items() if key not in ("objective", "rho")]
    return " ".join([str(axes["objective"]), *fields])
