"""The text of a report's numbers: percent for fractions, nats with two decimals."""

from __future__ import annotations

from collections.abc import Sequence

from cebctl.render.console import format_decimals
from cebctl.report.cells import Cell, Missing, Report, Row, Table
from experiments.matrix.planned_run import format_value

PERCENT = ("accuracy", "error", "relative_error", "share", "success")
NONE = "–"
"""In a cell whose measure is undefined."""
OFF_TARGET = "§"
"""Behind the rho of a row whose target was not in force at the end of its training."""
IMAGES = "i"
"""Behind an interval over test images that stands beside intervals over seeds."""
FEW = 6
"""A footnote counts more runs than this instead of naming them."""

_SYMBOLS = {
    "rate": "R",
    "rate_train_max": "max. training R",
    "residual_information": "Rex",
    "conditional_entropy": "H(Y|Z)",
}


def scale(measure: str) -> tuple[float, int]:
    """Return the factor that a value is printed with, and its decimals."""
    return (100.0, 1) if measure in PERCENT else (1.0, 2)


def unit(measure: str) -> str:
    return "%" if measure in PERCENT else measure


def format_cell(cell: Cell | Missing, row_seeds: int, is_mixed: bool) -> str:
    """Return `98.3 ±0.4 [96.4, 99.2] (paper 94.4%, +3.9)†`, or the reason for an absent number.

    A cell of fewer seeds than `row_seeds` says so. `is_mixed`: intervals over images get a mark.
    """
    if isinstance(cell, Missing):
        beside = f" (paper {cell.published_text})" if cell.published_text else ""
        return short_reason(cell) + beside
    beside = f" (paper {cell.published_text}{cell_difference(cell, ', ')})" if cell.published_text else ""
    fewer = f" ({seed_count(cell.seeds, cell.seeds_asked)})" if cell.seeds < row_seeds else ""
    return f"{cell_value(cell)}{cell_interval(cell, is_mixed)}{fewer}{beside}{version_marks(cell)}"


def cell_value(cell: Cell) -> str:
    """Return `98.3`, of several seeds `98.3 ±0.4`."""
    factor, digits = scale(cell.measure)
    spread = f" ±{format_decimals(cell.std * factor, digits)}" if cell.seeds > 1 else ""
    return format_decimals(cell.value * factor, digits) + spread


def version_marks(cell: Cell) -> str:
    """Return the marks of a number, † and ‡, whose notes explain its versions."""
    return "†" * cell.stale + "‡" * cell.mixed


def cell_interval(cell: Cell, is_mixed: bool) -> str:
    """Return ` [96.4, 99.2]`, and with a mark for images where both kinds of interval are printed (`is_mixed`).

    Empty for one number of all images together, such as the calibration error.
    """
    factor, digits = scale(cell.measure)
    if cell.low == cell.high and cell.seeds == 1:
        return ""
    ends = f"{format_decimals(cell.low * factor, digits)}, {format_decimals(cell.high * factor, digits)}"
    return f" [{ends}]{_mark(cell, is_mixed)}"


def _mark(cell: Cell, is_mixed: bool) -> str:
    return IMAGES if is_mixed and cell.interval_over == "images" else ""


def format_narrow_cell(cell: Cell | Missing, row_seeds: int, is_mixed: bool) -> str:
    """Return `19.1 [18.8,19.4] 19.3 -0.2`: our number, its interval, the paper's, the difference."""
    if isinstance(cell, Missing):
        reason = cell.reason.partition(":")[0] if cell.reason.startswith("not asked") else short_reason(cell)
        return f"{reason} {cell.published_text.removesuffix('%')}".rstrip()
    factor, digits = scale(cell.measure)
    low, high = (format_decimals(end * factor, digits) for end in (cell.low, cell.high))
    ends = f"[{low},{high}]{_mark(cell, is_mixed)}" if cell.interval != "none" else ""
    number = f"{format_decimals(cell.value * factor, digits)}{version_marks(cell) or ' '}{ends}".rstrip()
    fewer = f"({seed_count(cell.seeds, cell.seeds_asked)})" if cell.seeds < row_seeds else ""
    return " ".join(filter(None, [number, fewer, cell.published_text.removesuffix("%"), cell_difference(cell)]))


def seed_count(count: int, requested: int) -> str:
    """Return `3 seeds`, `2 of 3 seeds`."""
    return f"{count} of {requested} seeds" if count < requested else f"{count} seed{'s' * (count != 1)}"


def row_seeds(row: Row) -> str:
    """Return the most seeds of a cell of this row; empty for a model of the paper's that is not in the matrix."""
    return seed_count(row.seeds, len(row.run_ids)) if row.run_ids else ""


def has_seeds(table: Table) -> bool:
    """Whether the matrix asks for several seeds of a row."""
    return any(len(row.run_ids) > 1 for row in table.rows)


def absent_seeds(cell: Cell) -> str:
    """Return the states of the row's other seeds: `seed 1 running, seed 2 failed: nan`."""
    return ", ".join(f"seed {run.seed} {run.reason}" for run in cell.absent)


def short_reason(missing: Missing) -> str:
    """Return the reason for an absent number, short enough for a cell; the full one stands under the table."""
    return NONE if _undefined(missing.reason) else missing.reason.partition(":")[0]


def _undefined(reason: str) -> bool:
    return reason.startswith(("not defined", "not asked"))


def cell_difference(cell: Cell, before: str = "") -> str:
    """Return our number minus the paper's, with its sign; empty where the paper has no exact number."""
    if cell.difference is None:
        return ""
    factor, digits = scale(cell.measure)
    return before + format_decimals(round(cell.difference * factor, digits) + 0.0, digits, "+")  # + 0.0: no -0.0


def image_count(table: Table, name: str) -> str:
    """Return the number of images of a column, or its range over the rows; empty without a number."""
    counts = sorted({cell.n for row in table.rows if isinstance(cell := row.cells[name], Cell)})
    return "–".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else ""


def column_heading(table: Table, name: str) -> str:
    """Return the column's name, and below it its unit and the number of images, or its range over the rows."""
    numbers = [cell for row in table.rows if isinstance(cell := row.cells[name], Cell)]
    base, count = name.partition("@")[0], image_count(table, name)
    n = f"n={count}" if count else ""
    under = ", ".join(part for part in (unit(numbers[0].measure) if numbers else "", n) if part)
    return _SYMBOLS.get(base, base) + name.removeprefix(base) + (f"\n{under}" if under else "")


def row_axis_value(row: Row, name: str, starred: bool) -> str:
    """Return the value of an axis in a row, with marks at rho, or at the objective if the row has no rho.

    The marks are for rho* and for a target that was not in force.
    """
    marked = name == ("rho" if "rho" in row.axes else "objective")
    marks = "*" * (starred and name == "rho") + OFF_TARGET * (marked and bool(row.last_rho))
    return format_value(row.axes.get(name, NONE)) + marks


def row_name(row: Row) -> str:
    """Return `ceb rho=3 depth=50`."""
    fields = [f"{key}={format_value(part)}" for key, part in row.axes.items() if key != "objective"]
    return " ".join([format_value(row.axes["objective"]), *fields])


def missing_lines(report: Report) -> list[str]:
    """Return a line for each reason why cells or some of their seeds are missing, but none for undefined measures."""
    reasons: dict[str, dict[str, None]] = {}
    for table in report.tables:
        for row in table.rows:
            for cell in row.cells.values():
                if table.heads:
                    continue
                if isinstance(cell, Missing) and not _undefined(cell.reason):
                    reasons.setdefault(f"missing, {cell.reason}", {})[row_name(row)] = None
                elif isinstance(cell, Cell) and cell.absent:
                    text = f"{seed_count(cell.seeds, cell.seeds_asked)}, {absent_seeds(cell)}"
                    reasons.setdefault(text, {})[row_name(row)] = None
    return [f"{reason}: {join_or_count(list(names), 'rows')}" for reason, names in reasons.items()]


def join_or_count(names: Sequence[str], noun: str) -> str:
    """Return the names, or for many their number with the first and the last."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} {noun}, {names[0]}, {names[1]} … {names[-1]}"
