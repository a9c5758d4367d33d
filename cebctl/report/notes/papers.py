"""The footnotes about the papers' numbers: what they may be compared with, and where a paper contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cebctl.report import columns, number_format
from cebctl.report.cells import Cell, Row
from cebctl.report.columns import Column
from experiments import published
from experiments.benchmarks import CommonCorruptions, column, measures
from experiments.matrix.planned_run import Matrix


def paper_notes(matrix: Matrix, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the notes on the columns of this matrix, in a fixed order."""
    corrupted = [benchmark for benchmark in matrix.benchmarks if isinstance(benchmark, CommonCorruptions)]
    data = {run.run.data.name.removesuffix("-jpeg") for run in matrix.runs}
    if corrupted and published.normaliser(matrix.report.mce_baseline).data in data:
        yield _baseline(matrix)
    yield from _footings(matrix, rows)
    yield from _disputes(matrix)


def _baseline(matrix: Matrix) -> str:
    baseline = published.normaliser(matrix.report.mce_baseline)
    stand_in = (
        ", a stand-in: the papers' could not be found, so the published mCE is on another scale" * baseline.stand_in
    )
    return (
        f"mCE: the mean of the 15 ratios of errors to {baseline.name}'s{stand_in}. Corruption errors are means over "
        "five severities; the intervals of mCE and of average CE take the 15 errors to go up and down together."
    )


_MADE = {
    "official": "the published files",
    "official-recrop": "the published files with the evaluation crop on top",
    "regenerated": "made here as the published files were",
    "in-memory": "made here and never saved",
}


def _footings(matrix: Matrix, rows: Sequence[Row]) -> Iterator[str]:
    """Yield, for columns of one kind together, the numbers that they may be compared with, or why there are none."""
    report_columns = columns.all_columns(matrix.benchmarks)
    positions_by_footing: dict[str, list[int]] = {}
    for position, report_column in enumerate(report_columns):
        for footing in _footings_of(report_column, matrix, rows):
            positions_by_footing.setdefault(footing, []).append(position)
    names = [report_column.name for report_column in report_columns]
    for footing, positions in positions_by_footing.items():
        yield f"{', '.join(_ranges(positions, names))}: {footing}."


def _ranges(places: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Yield the names at these places; of more than two neighbours the first and the last: `snow … fog`."""
    for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        run = [names[place] for _, place in group]
        yield f"{run[0]} … {run[-1]}" if len(run) > 2 else ", ".join(run)


def _footings_of(report_column: Column, matrix: Matrix, rows: Sequence[Row]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(cell := row.cells[report_column.name], Cell):
            reasons.setdefault(cell.not_comparable, []).append(number_format.row_name(row))
    for reason, row_names in reasons.items():
        if reason:
            subset = f" ({number_format.join_or_count(row_names, 'rows')})" if len(reasons) > 1 else ""
            yield f"not comparable with published numbers{subset}: {reason}"
        elif isinstance(report_column.benchmark, CommonCorruptions):
            yield f"{_MADE[report_column.benchmark.pipeline]}, comparable with {_paper(matrix)}"


def _paper(matrix: Matrix) -> str:
    if all(run.run.data.name != "imagenet" for run in matrix.runs):
        return "what is published of CIFAR-10-C"
    paper = published.table(matrix.report.published)
    return f"{paper.paper}'s numbers (pipeline {paper.pipeline}, {paper.pipeline_note})"


def _disputes(matrix: Matrix) -> Iterator[str]:
    """Yield the contradictions about published numbers that stand beside runs of this matrix."""
    names = [
        (column(benchmark, measure), benchmark, measure)
        for benchmark in matrix.benchmarks
        for measure in measures(benchmark)
    ]
    subjects = {
        number.subject
        for run in matrix.runs
        for name, benchmark, measure in names
        if not published.reasons_not_comparable(run.run, benchmark, measure, matrix.report)
        and (number := published.lookup(matrix.report.published, published.run_fields(run.run), name))
        and number.disputed
    }
    shown = {name for name, _, _ in names}
    for dispute in published.disputes(matrix.report.published):
        if any(subject in subjects and name in shown for subject, name in dispute.cells):
            yield f"Disputed in {matrix.report.published}: {dispute.name}. {dispute.says.rstrip('.')}."
