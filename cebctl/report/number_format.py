"""The words and figures that a person reads in a report: percent for fractions, nats with two decimals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cebctl.render.console import decimals
from cebctl.report.cells import Cell, Missing, Report, Row, Table
from experiments.matrix.planned_run import format_value

PERCENT = ("accuracy", "error", "relative_error", "share", "success")
NONE = "–"
"""Where there is nothing to measure."""
OFF_TARGET = "§"
"""Behind the rho of a row whose target was not in force at the end of its training."""
IMAGES = "i"
"""Behind an interval over test images that stands beside intervals over seeds."""
FEW = 6
"""How many runs a footnote names before it counts them."""

_SYMBOLS = {
    "rate": "R",
    "rate_train_max": "max. training R",
    "residual_information": "Rex",
    "conditional_entropy": "H(Y|Z)",
}


def scale(measure: str) -> tuple[float, int]:
    """What a value is multiplied by for people, and its decimals."""
    return (100.0, 1) if measure in PERCENT else (1.0, 2)


def unit(measure: str) -> str:
    return "%" if measure in PERCENT else measure


def format_cell(found: Cell | Missing, row_seeds: int, mixed: bool) -> str:
    """`98.3 ±0.4 [96.4, 99.2] (paper 94.4%, +3.9)†`, or why there is nothing.

    `row_seeds` stand beside the row: a cell that has fewer says so. `mixed`: intervals over images are marked.
    """
    if isinstance(found, Missing):
        beside = f" (paper {found.published_text})" if found.published_text else ""
        return short_reason(found) + beside
    beside = f" (paper {found.published_text}{cell_difference(found, ', ')})" if found.published_text else ""
    fewer = f" ({seed_count(found.seeds, found.seeds_asked)})" if found.seeds < row_seeds else ""
    return f"{cell_value(found)}{cell_interval(found, mixed)}{fewer}{beside}{version_marks(found)}"


def cell_value(found: Cell) -> str:
    """Return `98.3`, of several seeds `98.3 ±0.4`."""
    factor, digits = scale(found.measure)
    spread = f" ±{decimals(found.std * factor, digits)}" if found.seeds > 1 else ""
    return decimals(found.value * factor, digits) + spread


def version_marks(found: Cell) -> str:
    """Return the marks of a number whose notes say what is with its versions: † and ‡."""
    return "†" * found.stale + "‡" * found.mixed


def cell_interval(found: Cell, mixed: bool) -> str:
    """` [96.4, 99.2]`, over images ` [96.4, 99.2]i` where both kinds are `mixed`; empty for what is one number for all
    images together, as the calibration error is."""
    factor, digits = scale(found.measure)
    if found.low == found.high and found.seeds == 1:
        return ""
    ends = f"{decimals(found.low * factor, digits)}, {decimals(found.high * factor, digits)}"
    return f" [{ends}]{_mark(found, mixed)}"


def _mark(found: Cell, mixed: bool) -> str:
    return IMAGES if mixed and found.interval_over == "images" else ""


def format_narrow_cell(found: Cell | Missing, row_seeds: int, mixed: bool) -> str:
    """`19.1 [18.8,19.4] 19.3 -0.2`: ours, its interval, the paper's, the difference."""
    if isinstance(found, Missing):
        return f"{short_reason(found)} {found.published_text.removesuffix('%')}".rstrip()
    factor, digits = scale(found.measure)
    ends = f"[{decimals(found.low * factor, digits)},{decimals(found.high * factor, digits)}]{_mark(found, mixed)}"
    ours = f"{decimals(found.value * factor, digits)}{version_marks(found) or ' '}{ends}"
    fewer = f"({seed_count(found.seeds, found.seeds_asked)})" if found.seeds < row_seeds else ""
    return " ".join(filter(None, [ours, fewer, found.published_text.removesuffix("%"), cell_difference(found)]))


def seed_count(count: int, asked: int) -> str:
    """Return `3 seeds`, `2 of 3 seeds`."""
    return f"{count} of {asked} seeds" if count < asked else f"{count} seed{'s' * (count != 1)}"


def row_seeds(row: Row) -> str:
    """Return the most seeds of a cell of this row; empty for a model of the paper's that is not in the matrix."""
    return seed_count(row.seeds, len(row.run_ids)) if row.run_ids else ""


def has_seeds(table: Table) -> bool:
    """Whether the matrix asks for several seeds of a row."""
    return any(len(row.run_ids) > 1 for row in table.rows)


def absent_seeds(found: Cell) -> str:
    """Return what the row's other seeds do: `seed 1 running, seed 2 failed: nan`."""
    return ", ".join(f"seed {run.seed} {run.reason}" for run in found.absent)


def short_reason(found: Missing) -> str:
    """Why there is no number, short enough for a cell; the whole stands under the table."""
    return NONE if _undefined(found.reason) else found.reason.partition(":")[0]


def _undefined(reason: str) -> bool:
    return reason.startswith(("not defined", "not asked"))


def cell_difference(found: Cell, before: str = "") -> str:
    """Ours minus the paper's, with its sign; empty where the paper has no exact number."""
    if found.difference is None:
        return ""
    factor, digits = scale(found.measure)
    return before + decimals(round(found.difference * factor, digits) + 0.0, digits, "+")  # + 0.0: no -0.0


def column_heading(table: Table, name: str) -> str:
    """Return the column's name, and below it its unit and the number of images, or its range over the rows."""
    cells = [row.cells[name] for row in table.rows]
    numbers = [found for found in cells if isinstance(found, Cell)]
    base = name.partition("@")[0]
    counts = sorted({found.n for found in numbers})
    n = f"n={'–'.join(f'{count:,}' for count in dict.fromkeys((counts[0], counts[-1])))}" if counts else ""
    under = ", ".join(part for part in (unit(numbers[0].measure) if numbers else "", n) if part)
    return _SYMBOLS.get(base, base) + name.removeprefix(base) + (f"\n{under}" if under else "")


def axis(value: Any) -> str:
    return format_value(value)


def row_axis_value(row: Row, name: str, starred: bool) -> str:
    """The value of an axis in a row, with its marks: rho* and a target that was not in force, behind rho where the row
    has one."""
    marked = name == ("rho" if "rho" in row.axes else "objective")
    marks = "*" * (starred and name == "rho") + OFF_TARGET * (marked and bool(row.last_rho))
    return axis(row.axes.get(name, NONE)) + marks


def row_name(row: Row) -> str:
    """`ceb rho=3 depth=50`."""
    rest = [f"{key}={axis(part)}" for key, part in row.axes.items() if key != "objective"]
    return " ".join([axis(row.axes["objective"]), *rest])


def missing_lines(report: Report) -> list[str]:
    """Why cells or seeds of them are missing, a line per reason; not where the objective has no such measure."""
    reasons: dict[str, dict[str, None]] = {}
    for table in report.tables:
        for row in table.rows:
            for found in row.cells.values():
                if table.heads:
                    continue
                if isinstance(found, Missing) and not _undefined(found.reason):
                    reasons.setdefault(f"missing, {found.reason}", {})[row_name(row)] = None
                elif isinstance(found, Cell) and found.absent:
                    text = f"{seed_count(found.seeds, found.seeds_asked)}, {absent_seeds(found)}"
                    reasons.setdefault(text, {})[row_name(row)] = None
    return [f"{reason}: {join_or_count(list(names), 'rows')}" for reason, names in reasons.items()]


def join_or_count(names: Sequence[str], what: str) -> str:
    """Return the names, or of many how many there are, the first and the last."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} {what}, {names[0]}, {names[1]} … {names[-1]}"
