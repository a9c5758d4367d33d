"""The content of a report: tables of cells with interval, n, seeds and the published number, or why one is missing.

A pure function of the matrix, the states, the result rows and `experiments.published`; it renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cebctl.control.states import RunStatus
from cebctl.report import attack_notes, notes
from cebctl.report.cells import Cell, Missing, Report, Row, Table
from cebctl.report.intervals import mean_and_std, student, wilson
from cebctl.report.selection import select_rho
from experiments import published
from experiments.benchmarks import NOT_RUNNABLE, AnyBenchmark, Transfer, column, full_column, measures, runnable
from experiments.identity import evaluation_id
from experiments.matrix import Matrix, PlannedRun
from store.rows import ResultRow

Results = Mapping[tuple[str, str, str], ResultRow]
"""By (run_id, evaluation_id, measure)."""


@dataclass(frozen=True)
class Column:
    """One column: a measure of a benchmark."""

    name: str
    benchmark: AnyBenchmark
    measure: str
    """The name of the measure in the results."""


@dataclass(frozen=True)
class _Source:
    """What cells are made from."""

    status: Mapping[str, RunStatus]
    results: Results
    engine: str
    paper: Literal["v1", "v2"]

    @cached_property
    def evaluated(self) -> set[tuple[str, str]]:
        """(run_id, evaluation_id) of every evaluation that was made."""
        return {(run_id, evaluation) for run_id, evaluation, _ in self.results}


def build(matrix: Matrix, status: Mapping[str, RunStatus], results: Iterable[ResultRow], engine: str) -> Report:
    """The report of a matrix; `engine` is the digest of the code as it is now, by which stale results are seen."""
    found = {(row.run_id, row.evaluation_id, row.name): row for row in results}
    columns = _columns(matrix.benchmarks)
    source = _Source(status, found, engine, matrix.report.published)
    rows = tuple(_row(group, columns, source) for group in _groups(matrix.runs))
    table = Table(matrix.title, tuple(column.name for column in columns), rows)
    selected = select_rho(rows)
    said = notes.notes(matrix, rows, selected, found.values())
    return Report(matrix.name, matrix.title, (table,), selected, said, attack_notes.verdicts(found.values()))


def _columns(benchmarks: Sequence[AnyBenchmark]) -> list[Column]:
    """One per measure; the threat model is spelt out where a short name would stand for two."""
    short = [column(benchmark, measure) for benchmark in benchmarks for measure in measures(benchmark)]
    columns = []
    for benchmark in benchmarks:
        for measure in measures(benchmark):
            name = column(benchmark, measure)
            columns.append(
                Column(name if short.count(name) == 1 else full_column(benchmark, measure), benchmark, measure)
            )
    return columns


def _groups(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """The runs that are equal but for the seed, in the order of the matrix."""
    groups: dict[tuple[tuple[str, Any], ...], list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(tuple((k, v) for k, v in run.axes.items() if k != "seed"), []).append(run)
    return list(groups.values())


def _row(
    group: Sequence[PlannedRun],
    columns: Sequence[Column],
    source: _Source,
) -> Row:
    axes = {key: value for key, value in group[0].axes.items() if key != "seed"}
    cells = {column.name: _cell(group, column, source) for column in columns}
    return Row(tuple(run.run_id for run in group), axes, cells)


def _cell(group: Sequence[PlannedRun], column: Column, source: _Source) -> Cell | Missing:
    rows = []
    for run in group:
        evaluation = evaluation_id(column.benchmark, run.run.data.name)
        row = source.results.get((run.run_id, evaluation, column.measure))
        if row is not None:
            rows.append(row)
    if not rows:
        paper = _published(group[0], column, "accuracy", source.paper)
        return Missing(_why_missing(group[0], column, source), paper)
    values = [_value(row) for row in rows]
    mean, std = mean_and_std(values)
    low, high = _interval(rows, mean, std)
    stale = any(row.engine != source.engine for row in rows)
    unit = rows[0].unit
    paper = _published(group[0], column, unit, source.paper)
    return Cell(mean, low, high, rows[0].total, len(rows), std, unit, paper, stale)


def _published(planned: PlannedRun, column: Column, measure: str, paper: Literal["v1", "v2"]) -> float | None:
    """The paper's number for this run and this threat model, in the same measure."""
    name = full_column(column.benchmark, column.measure)
    found = published.lookup(paper, published.axes_of(planned.run), name)
    same = found.as_measure(measure) if found else None
    return same.value if same else None


def _value(row: ResultRow) -> float:
    if row.correct is not None:
        return row.correct / row.total
    assert row.value is not None
    return row.value


def _interval(rows: Sequence[ResultRow], mean: float, std: float) -> tuple[float, float]:
    """Over seeds where there are several; else over the images of the one."""
    if len(rows) > 1:
        return student(mean, std, len(rows))
    (row,) = rows
    if row.correct is not None:
        return wilson(row.correct, row.total)
    return student(mean, row.std or 0.0, row.total) if row.total > 1 else (mean, mean)


def _why_missing(run: PlannedRun, column: Column, source: _Source) -> str:
    evaluation = evaluation_id(column.benchmark, run.run.data.name)
    if column.benchmark not in run.benchmarks:
        return "not asked for"
    if not runnable(column.benchmark):
        return NOT_RUNNABLE
    if (run.run_id, evaluation) in source.evaluated:
        return f"not defined for {run.axes['objective']}"
    current = source.status[run.run_id].current
    if isinstance(column.benchmark, Transfer) and column.benchmark in current.waiting:
        return f"its source {column.benchmark.source} is not trained"
    if current.state == "failed" and current.job is not None:
        return f"failed: {current.job.error}"
    return {"new": "not run", "done": "no result"}.get(current.state, current.state)
