"""The columns of a report: a measure of a benchmark each, and which of them a paper's table shows.

The L2 radius of the papers' headline on CIFAR-10 is printed nowhere, so a matrix measures several; the headline's is
the one at which the adversarially trained run comes nearest to the accuracy that is printed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cebctl.report.measurements import Results, run_measurement
from experiments import published
from experiments.benchmarks import (
    CORRUPTIONS,
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
        """Return the paper's number for this run, or None and, where it has any for such a run, why it may not stand
        beside the run's."""
        reason = published.reasons_not_comparable(run.run, self.benchmark, self.measure, report)
        return None if reason else published.lookup(
            report.published, published.run_fields(run.run), self.published_as
        ), reason

    @property
    def unit(self) -> str:
        """The measure that a cell of this column is, where nothing was measured yet."""
        return "error" if self.measure in (*CORRUPTIONS, *EXTRA_CORRUPTIONS, "average_ce") else "accuracy"


def all_columns(benchmarks: Sequence[AnyBenchmark]) -> list[Column]:
    """One per measure; the threat model is spelt out where a short name would stand for two."""
    short = [column(benchmark, measure) for benchmark in benchmarks for measure in measures(benchmark)]
    found = []
    for benchmark in benchmarks:
        for measure in measures(benchmark):
            name, full = column(benchmark, measure), full_column(benchmark, measure)
            found.append(
                Column(name if short.count(name) == 1 else full, benchmark, measure, _published_as(benchmark, name))
            )
    return found


def _published_as(benchmark: AnyBenchmark, name: str) -> str:
    """Numbers under attack are of one threat model."""
    return f"{name}@{parameters(benchmark)}" if isinstance(benchmark, Attack) else name


def resolve_headlines(
    columns: Sequence[Column], matrix: Matrix, results: Results
) -> tuple[list[Column], dict[str, list[Column]], list[str]]:
    """All columns, those that the headline's turn out to be by the names of the matrix's `report.columns`, and notes.

    InputError if the matrix has no such column.
    """
    found: dict[str, list[Column]] = {}
    notes: list[str] = []
    for name in matrix.report.columns:
        candidates = _candidates(name, columns, matrix)
        chosen = _headline(name, candidates, matrix, results) if len(candidates) > 1 else None
        if chosen is not None:
            headline, note = chosen
            columns = [headline if one.name == headline.name else one for one in columns]
            candidates, notes = [headline], [*notes, note]
        found[name] = candidates
    return list(columns), found, notes


def _candidates(name: str, columns: Sequence[Column], matrix: Matrix) -> list[Column]:
    """The column of this name, or those it is short for: first of all those that every run is asked for."""
    exact = [one for one in columns if one.name == name]
    short = [one for one in columns if one.short == name]
    for_all = [one for one in short if all(one.benchmark in run.benchmarks for run in matrix.runs)]
    found = exact or for_all or short
    if not found:
        names = dict.fromkeys(one.short for one in columns)
        raise InputError(matrix.path, f"report.columns: no column {name!r}", expected(names, name))
    return found


def _headline(name: str, candidates: Sequence[Column], matrix: Matrix, results: Results) -> tuple[Column, str] | None:
    """The candidate nearest to what is printed, without its radius, for an adversarially trained run."""
    for run in matrix.runs:
        printed = published.lookup(matrix.report.published, published.run_fields(run.run), name)
        if run.run.adversary.__struct_config__.tag == "none" or printed is None:
            continue
        if printed.attack is None or printed.attack.eps is not None:
            continue
        values: Mapping[str, float] = {
            one.name: one_measured.value
            for one in candidates
            if (one_measured := run_measurement(
                results, run.run_id, evaluation_id(one.benchmark, run.run.data.name), one.measure, {}
            ))
        }  # fmt: skip
        if len(values) < len(candidates):
            continue
        best = min(candidates, key=lambda one: abs(values[one.name] - printed.value))
        note = (
            f"{best.name} is the headline's {name}, whose radius is printed nowhere: there the adversarially trained "
            f"run has {values[best.name]:.1%}, nearest to the {printed.text} printed for it."
        )
        return replace(best, published_as=name), note
    return None
