"""The columns of a report: one for each measure of a benchmark, and those that the printed table shows.

The papers do not print the L2 radius of their headline on CIFAR-10, so a matrix measures several. The headline's radius
is the one at which the adversarially trained run comes nearest to the accuracy that is printed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cebctl.report.measurements import Results, run_measurement
from experiments import published
from experiments.benchmarks import (
    CORRUPTIONS,
    CORRUPTIONS_3D,
    EXTRA_CORRUPTIONS,
    AnyBenchmark,
    Attack,
    column,
    full_column,
    measures,
    parameters,
)
from experiments.errors import InputError, expected
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.matrix.report_section import ReportSpec
from experiments.published import PublishedNumber


@dataclass(frozen=True)
class Column:
    """One column: a measure of a benchmark."""

    name: str
    benchmark: AnyBenchmark
    measure: str
    """The name of the measure in the results."""
    published_as: str
    """The column by which the papers' numbers are found."""

    @property
    def short(self) -> str:
        return column(self.benchmark, self.measure)

    def published(self, run: PlannedRun, report: ReportSpec) -> tuple[PublishedNumber | None, str]:
        """Return the paper's number for this run, or that of the publishers of its network; or None and, where they
        have any for such a run, why it may not stand beside the run's."""
        number, reason = published.public_number(run.run, self.benchmark, self.measure, report)
        if number is not None or reason:
            return number, reason
        reason = published.reasons_not_comparable(run.run, self.benchmark, self.measure, report)
        return None if reason else published.lookup(
            report.published, published.run_fields(run.run), self.published_as
        ), reason

    @property
    def unit(self) -> str:
        """Return the unit of this column's cells before anything was measured."""
        errors = (*CORRUPTIONS, *EXTRA_CORRUPTIONS, *CORRUPTIONS_3D, "average_ce")
        return "error" if self.measure in errors else "accuracy"


def all_columns(benchmarks: Sequence[AnyBenchmark]) -> list[Column]:
    """Return a column for each measure, with its threat model in the name where a short name would stand for two."""
    short_names = [column(benchmark, measure) for benchmark in benchmarks for measure in measures(benchmark)]
    report_columns = []
    for benchmark in benchmarks:
        for measure in measures(benchmark):
            name, full_name = column(benchmark, measure), full_column(benchmark, measure)
            report_columns.append(
                Column(
                    name if short_names.count(name) == 1 else full_name,
                    benchmark,
                    measure,
                    _published_as(benchmark, name),
                )
            )
    return report_columns


def _published_as(benchmark: AnyBenchmark, name: str) -> str:
    """Return the column's name in the papers' numbers, which name the threat model of every attack."""
    return f"{name}@{parameters(benchmark)}" if isinstance(benchmark, Attack) else name


def resolve_headlines(
    columns: Sequence[Column], matrix: Matrix, results: Results
) -> tuple[list[Column], dict[str, list[Column]], list[str]]:
    """Return all columns, those of the printed table by the names in `report.columns`, and notes on the headline.

    InputError if the matrix has no such column.
    """
    chosen_columns: dict[str, list[Column]] = {}
    notes: list[str] = []
    for name in matrix.report.columns:
        candidates = _candidates(name, columns, matrix)
        chosen = _headline(name, candidates, matrix, results) if len(candidates) > 1 else None
        if chosen is not None:
            headline, note = chosen
            columns = [headline if column.name == headline.name else column for column in columns]
            candidates, notes = [headline], [*notes, note]
        chosen_columns[name] = candidates
    return list(columns), chosen_columns, notes


def _candidates(name: str, columns: Sequence[Column], matrix: Matrix) -> list[Column]:
    """Return the column of this name, or those that it abbreviates: preferably those that every run has."""
    exact = [column for column in columns if column.name == name]
    same_short_name = [column for column in columns if column.short == name]
    for_all = [column for column in same_short_name if all(column.benchmark in run.benchmarks for run in matrix.runs)]
    candidates = exact or for_all or same_short_name
    if not candidates:
        names = dict.fromkeys(column.short for column in columns)
        raise InputError(matrix.path, f"report.columns: no column {name!r}", expected(names, name))
    return candidates


def _headline(name: str, candidates: Sequence[Column], matrix: Matrix, results: Results) -> tuple[Column, str] | None:
    """Return the candidate nearest to the printed number of an adversarially trained run, which lacks its radius."""
    for run in matrix.runs:
        printed = published.lookup(matrix.report.published, published.run_fields(run.run), name)
        if run.run.adversary.__struct_config__.tag == "none" or printed is None:
            continue
        if printed.attack is None or printed.attack.eps is not None:
            continue  # a number without an attack, or whose radius is printed
        values: Mapping[str, float] = {
            column.name: measurement.value
            for column in candidates
            if (measurement := run_measurement(
                results, run.run_id, evaluation_id(column.benchmark, run.run.data.name), column.measure, {}
            ))
        }  # fmt: skip
        if len(values) < len(candidates):
            continue
        best = min(candidates, key=lambda column: abs(values[column.name] - printed.value))
        note = (
            f"{best.name} is the headline's {name}, whose radius is printed nowhere: there the adversarially trained "
            f"run has {values[best.name]:.1%}, nearest to the {printed.text} printed for it."
        )
        return replace(best, published_as=name), note
    return None
