"""The cells and figures of a report that a rehearsal leaves empty, and why: those that the full run would not fill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cebctl.rehearsal.reduction import Missing
from cebctl.report import number_format
from cebctl.report.cells import Missing as MissingCell
from cebctl.report.cells import Report
from cebctl.report.figures.marks import Figure
from experiments.benchmarks import column, measures
from experiments.matrix.planned_run import Matrix


@dataclass(frozen=True)
class Gap:
    """Empty cells of one column for one reason; of a figure that is not drawn, the whole figure."""

    table: str
    """Empty for a figure."""
    column: str
    """The name of the column, or of the figure."""
    rows: tuple[str, ...]
    reason: str


def gaps(matrix: Matrix, report: Report, figures: Sequence[Figure], missing: Missing) -> list[Gap]:
    """Return the gaps of the papers' table and of all measures, then the figures that the matrix names and lacks.

    `matrix` is the reduced one. A measure that is not defined for a row is no gap.
    """
    left_out = _left_out(missing)
    drawn = {figure.name for figure in figures}
    return [
        *_empty_cells(report, left_out),
        *(Gap("", name, (), "no numbers for it") for name in matrix.report.figures if name not in drawn),
    ]


def _left_out(missing: Missing) -> dict[str, str]:
    """Return the reason by the short name of each column whose images are missing."""
    return {
        column(benchmark, measure): f"no images: {reason}"
        for (benchmark, _), reason in missing.items()
        for measure in measures(benchmark)
    }


def _empty_cells(report: Report, left_out: Mapping[str, str]) -> Iterator[Gap]:
    # The last table has every measure of every run; those of the papers may have cells beyond.
    for table in (*(table for table in report.tables if table.heads), report.tables[-1]):
        rows: dict[tuple[str, str], list[str]] = {}
        for row in table.rows:
            for name in table.columns:
                cell = row.cells.get(name)
                if isinstance(cell, MissingCell) and number_format.short_reason(cell) != number_format.NONE:
                    reason = left_out.get(name, cell.reason) if table.heads else cell.reason
                    rows.setdefault((name, reason), []).append(" ".join(row.heads) or number_format.row_name(row))
        for (name, reason), names in rows.items():
            yield Gap(table.name, name, tuple(names), reason)
