"""The content of a report: tables of cells with interval, n, seeds and the published number, or why one is missing.

A pure function of the matrix, the states, the result rows and `experiments.published`; it renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cebctl.report import columns, table1
from cebctl.report.cells import AbsentSeed, Cell, Missing, Over, Report, Row, Table
from cebctl.report.columns import Column
from cebctl.report.intervals import mean_and_std, student
from cebctl.report.measurements import Measurement, Results, clip_to_range, run_measurement
from cebctl.report.notes import attacks, footnotes
from cebctl.report.selection import RULES, select_rho
from cebctl.status.off_target import OffTarget, last_rho_text
from cebctl.status.staleness import Versions
from cebctl.status.states import RunStatus
from experiments import own_dataset, published
from experiments.benchmarks import NOT_RUNNABLE, Transfer, is_runnable
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix, PlannedRun, seed_groups
from experiments.matrix.report_section import ReportSpec
from experiments.needed_images import needed_images
from experiments.numerics import VersionDifference
from experiments.published import Normaliser, PublishedNumber
from store.row_types import AttemptRow, ResultRow


@dataclass(frozen=True)
class _Inputs:
    """The input of cells."""

    status: Mapping[str, RunStatus]
    results: Results
    versions: Versions
    report: ReportSpec
    mce_baseline: Normaliser
    absent: Mapping[str, str] = field(default_factory=dict)
    off_target: OffTarget = field(default_factory=OffTarget)

    def baseline(self, run: PlannedRun) -> Mapping[str, float]:
        """Return the errors by corruption that mCE is relative to; none on other images."""
        has_its_images = run.run.data.name.removesuffix("-jpeg") == self.mce_baseline.data
        return self.mce_baseline.errors if has_its_images else {}

    @cached_property
    def evaluated(self) -> set[tuple[str, str]]:
        """Return (run_id, evaluation_id) of every evaluation with a result."""
        return {(run_id, evaluation) for run_id, evaluation, _ in self.results}


def build_report(
    matrix: Matrix,
    status: Mapping[str, RunStatus],
    results: Iterable[ResultRow],
    engine: str,
    absent: Mapping[str, str] | None = None,
    attempts: Iterable[AttemptRow] = (),
    off_target: OffTarget | None = None,
) -> Report:
    """Return the report of a matrix.

    `engine` is the digest of today's code, and `attempts` are the trainings of the runs and of their ancestors: they
    tell stale results. `absent` names the missing data sets, each with the reason, `off_target` the runs whose numbers
    are of another rho than their spec's. Raises InputError if the matrix's `report` section names a column that none of
    its benchmarks has.
    """
    by_key = {(row.run_id, row.evaluation_id, row.name): row for row in results}
    all_columns, headline, remarks = columns.resolve_headlines(columns.all_columns(matrix.benchmarks), matrix, by_key)
    baseline = published.normaliser(matrix.report.mce_baseline)
    versions = Versions({run.run_id: run.run for run in matrix.runs}, tuple(attempts), engine)
    source = _Inputs(status, by_key, versions, matrix.report, baseline, absent or {}, off_target or OffTarget())
    rows = tuple(_row(group, all_columns, source) for group in seed_groups(matrix.runs))
    complete = Table(matrix.title, tuple(column.name for column in all_columns), rows)
    selected = select_rho(rows, RULES[matrix.report.rho_star])
    printed = _printed_tables(matrix, rows, selected, headline, all_columns)
    tables = (*printed, replace(complete, name=f"{matrix.title}: every measure of every run", supplement=True))
    remarks = [*footnotes.footnotes(matrix, rows, selected, by_key.values(), versions), *remarks]
    verdicts = attacks.audit_verdicts(by_key.values())
    return Report(matrix.name, matrix.title, tables if printed else (complete,), selected, tuple(remarks), verdicts)


def _printed_tables(
    matrix: Matrix,
    rows: tuple[Row, ...],
    selected: Mapping[str, Any],
    headline: Mapping[str, Sequence[Column]],
    all_columns: Sequence[Column],
) -> tuple[Table, ...]:
    """Return the tables of the matrix's `report` section."""
    tables: list[Table] = []
    if matrix.report.table == "table1":
        tables += table1.build_table1(matrix, rows, selected, all_columns)
    if headline:
        names = tuple(column.name for chosen in headline.values() for column in chosen)
        tables.append(Table(matrix.title, names, rows))
    return tuple(tables)


def _row(group: Sequence[PlannedRun], columns: Sequence[Column], source: _Inputs) -> Row:
    axes = {key: value for key, value in group[0].axes.items() if key != "seed"}
    cells = {column.name: _cell(group, column, source) for column in columns}
    run_ids = tuple(run.run_id for run in group)
    last_rho = {key: source.off_target.last_rho[key] for key in run_ids if key in source.off_target.last_rho}
    return Row(run_ids, axes, cells, last_rho=last_rho)


def _cell(group: Sequence[PlannedRun], column: Column, source: _Inputs) -> Cell | Missing:
    by_run: dict[str, Measurement] = {}
    absent = []
    for run in group:
        evaluation = evaluation_id(column.benchmark, run.run.data.name)
        number = run_measurement(source.results, run.run_id, evaluation, column.measure, source.baseline(run))
        if number is not None and not _why_no_rate(
            run, column, source
        ):  # an older version may still have written a rate
            by_run[run.run_id] = number
        elif column.benchmark in run.benchmarks:
            absent.append(AbsentSeed(run.run_id, run.run.seed, _why_missing(run, column, source)))
    printed, why_not = column.published(group[0], source.report)
    if not by_run:
        reason = _reasons(absent) or _why_missing(group[0], column, source)
        missing = Missing(reason, not_comparable=why_not)
        return with_published(missing, printed and (printed.as_measure(column.unit) or printed))
    numbers = list(by_run.values())
    first = numbers[0]
    mean, std = mean_and_std([number.value for number in numbers])
    low, high, interval = first.low, first.high, first.interval
    over: Over = "" if interval == "none" else "images"
    if len(numbers) > 1:
        low, high = clip_to_range(*student(mean, std, len(numbers)), first.unit)
        interval, over = "student_t", "seeds"
    cell = Cell(
        mean, low, high, first.total, len(numbers), std, first.unit, not_comparable=why_not, interval=interval,
        interval_over=over, run_ids=tuple(by_run), absent=tuple(absent),
        generation=max(row.generation for number in numbers for row in number.rows),
    )  # fmt: skip
    cell = _marked(cell, numbers, source.versions)
    return with_published(cell, printed and printed.as_measure(cell.measure))


def _reasons(absent: Sequence[AbsentSeed]) -> str:
    """Return the reason why no seed has a number, or several: `failed: nan (seed 0); running (seed 1)`."""
    seeds: dict[str, list[str]] = {}
    for run in absent:
        seeds.setdefault(run.reason, []).append(str(run.seed))
    if len(seeds) == 1:
        return absent[0].reason
    return "; ".join(f"{reason} (seed {', '.join(numbers)})" for reason, numbers in seeds.items())


def _marked(cell: Cell, measurements: Sequence[Measurement], versions: Versions) -> Cell:
    """Return the cell with marks for other versions than today's in its training or evaluation."""
    standings = [versions.result_drift(row) for measurement in measurements for row in measurement.rows]
    total = VersionDifference()
    for standing in standings:
        total |= standing.difference
    mixed = any(standing.mixed for standing in standings)
    return replace(cell, stale=bool(total), changed=tuple(sorted({*total.raised, *total.newer})), mixed=mixed)


def with_published(cell: Cell | Missing, printed: PublishedNumber | None) -> Cell | Missing:
    """Return the cell with the paper's number beside it."""
    if printed is None:
        return cell
    exact = printed.relation in ("equal", "about")
    return replace(cell, published=printed.value if exact else None, published_text=printed.text)


def _why_missing(run: PlannedRun, column: Column, source: _Inputs) -> str:
    evaluation = evaluation_id(column.benchmark, run.run.data.name)
    if column.benchmark not in run.benchmarks:
        return "not asked for"
    if not is_runnable(column.benchmark):
        return NOT_RUNNABLE
    if (run.run_id, evaluation) in source.evaluated:
        if no_rate := _why_no_rate(run, column, source):
            return no_rate
        if (run.run_id, evaluation, column.measure) in source.results:
            return "not a finite number"
        holder = own_dataset.labelled(run.run.data.name) if column.measure == "mce" else run.axes["objective"]
        return f"not defined for {holder}"
    current = source.status[run.run_id].current
    if isinstance(column.benchmark, Transfer) and column.benchmark in current.blocked_benchmarks:
        return f"its source {column.benchmark.source} is not trained"
    if current.state == "failed" and current.job is not None:
        failed = current.job.failed_benchmarks or {}
        if failed and evaluation not in failed:
            return f"failed: not measured in the newest attempt, {current.job.error}"
        return f"failed: {failed.get(evaluation, current.job.error)}"
    if current.state == "new" and run.run.data.name in source.absent:
        return f"no data: {own_dataset.labelled(run.run.data.name)}, {source.absent[run.run.data.name]}"
    needed = needed_images(column.benchmark, run.run.data.name)
    if current.state == "new" and needed and needed.name in source.absent:
        return f"no data: {needed.name}, {source.absent[needed.name]}"
    return {"new": "not run", "done": "no result"}.get(current.state, current.state)


def _why_no_rate(run: PlannedRun, column: Column, source: _Inputs) -> str:
    """Return the reason why a run has no training rate; '' if it has one."""
    if column.measure != "rate_train_max" or run.run_id not in source.off_target.without_rate:
        return ""
    if run.run_id in source.off_target.last_rho:
        return f"off target: training ended at {last_rho_text(source.off_target.last_rho[run.run_id])}"
    return "no epoch: none began with the target rho in force"
