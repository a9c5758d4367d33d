"""The collection of what a report is built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cebctl.report.cells import Report
from cebctl.report.claims.collect import with_claims
from cebctl.report.table import build_report
from cebctl.status.collect import collect_statuses
from cebctl.status.off_target import off_target
from cebctl.status.staleness import Versions, training_dependencies
from cebctl.status.states import RunStatus
from cebctl.submission.needed_data import benchmark_data
from experiments.matrix.planned_run import Matrix
from jobs import provenance
from jobs.datasets.dataset_status import dataset_status
from jobs.paths import Home, data_folder
from store import queries
from store.connect import Store
from store.row_types import ResultRow


@dataclass(frozen=True)
class CollectedReport:
    """A report, and the rows of the store that it was built from."""

    report: Report
    runs: Sequence[RunStatus]
    rows: list[ResultRow]
    versions: Versions


def collect_report(matrix: Matrix, store: Store, home: Home) -> CollectedReport:
    """Read the journals into the store, and build the report of a matrix from it."""
    runs = collect_statuses(matrix, store, home)
    specs = {run.run_id: run.run for run in matrix.runs}
    rows = queries.results(store, list(specs))
    attempts = queries.attempts(store, training_dependencies(specs, matrix.benchmarks))
    digest = provenance.engine_digest()
    status = {run.planned.run_id: run for run in runs}
    ended_off = off_target(runs, store)
    report = build_report(matrix, status, rows, digest, _unusable_datasets(matrix), attempts, ended_off)
    report = with_claims(report, matrix, rows, store, home, ended_off)
    return CollectedReport(report, runs, rows, Versions(specs, attempts, digest))


def _unusable_datasets(matrix: Matrix) -> dict[str, str]:
    """Return the state of the images that the matrix needs and that are missing or damaged, by name."""
    names = {run.run.data.name for run in matrix.runs}
    states = {name: dataset_status(name, data_folder()).state for name in sorted(names)}
    states |= {needed.status.name: needed.status.state for needed in benchmark_data(matrix, data_folder())}
    return {name: state for name, state in states.items() if state != "ready"}
