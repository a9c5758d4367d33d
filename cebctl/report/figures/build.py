"""All figures of a report: those of the papers that its matrix names, or similar ones, and those of the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cebctl.report import columns, number_format
from cebctl.report.cells import Report
from cebctl.report.figures import forest, papers, runs
from cebctl.report.figures.marks import Figure
from cebctl.report.figures.runs import Curves
from experiments.matrix.planned_run import Matrix
from store.row_types import ResultRow


def build_figures(matrix: Matrix, report: Report, results: Iterable[ResultRow], curves: Curves) -> list[Figure]:
    """Return the figures for which there are numbers."""
    by_key = {(row.run_id, row.evaluation_id, row.name): row for row in results}
    source = papers.FigureData(matrix, report, columns.all_columns(matrix.benchmarks))
    figures = [*forest.claim_figures(report.claims), *papers.paper_figures(source)]
    figures += runs.information_plane(matrix, source.rows)
    selected = {selected_rho.run_ids for selected_rho in report.selected.values()}
    figures += runs.reliability(matrix, source.rows, by_key, selected)
    figures += runs.training_curves(matrix, source.rows, curves)
    if any(row.last_rho for row in source.rows):
        note = f" {number_format.OFF_TARGET}: the target ρ was not in force when training ended."
        figures = [replace(figure, caption=figure.caption + note) for figure in figures]
    return figures
