"""Runs that are under way although no text of a matrix asks for them any more: it was edited, moved or removed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cebctl.status.collect import load_observations, run_ids_with_dependencies
from cebctl.status.states import RunStatus, derive_statuses
from experiments.benchmarks import AnyBenchmark
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.spec import read_run
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.row_types import ClaimRow

_UNDER_WAY = ("queued", "running")


@dataclass(frozen=True)
class EarlierRun:
    """A run, or some benchmarks of one, that waits or runs and that today's text of its matrix does not ask for."""

    run: RunStatus
    submissions: tuple[str, ...]
    """The submissions that claimed it, the oldest first."""
    path: str
    """The matrix of the newest of them."""


def cancelling_command(earlier: Iterable[EarlierRun]) -> str:
    """Return the command that cancels these runs."""
    names = dict.fromkeys(name for run in earlier for name in run.submissions)
    return f"cebctl cancel --submission {' --submission '.join(names)}"


def stored_matrix(path: Path, claims: Iterable[ClaimRow], store: Store) -> Matrix:
    """Return a matrix of the runs that are claimed, with the specs of the store and the benchmarks of the claims; runs
    of specs that this version can't read are left out."""
    benchmarks: dict[str, dict[AnyBenchmark, None]] = defaultdict(dict)
    for claim in claims:
        benchmarks[claim.run_id].update(dict.fromkeys(claim.benchmarks))
    runs = tuple(
        PlannedRun(spec, row.run_id, row.label, {}, tuple(benchmarks[row.run_id]))
        for row in queries.runs(store)
        if row.run_id in benchmarks and (spec := read_run(row.spec))
    )
    return Matrix(path, path.stem, runs, tuple({b: None for run in runs for b in run.benchmarks}))


def earlier_runs(matrices: Mapping[str, Matrix | None], store: Store, home: Home) -> list[EarlierRun]:
    """Return the runs under way that were submitted from these files and that their matrices, None for a file that is
    gone or has faults, do not ask for; by a store that has read the journals."""
    paths = {row.name: row.matrix_path for row in queries.submissions(store) if row.matrix_path in matrices}
    listed = {path: _benchmarks(matrix) for path, matrix in matrices.items()}
    by_run: dict[str, list[ClaimRow]] = defaultdict(list)
    for claim in queries.open_claims(store):
        path = paths.get(claim.submission)
        if path is not None and not _is_listed(claim, listed[path]):
            by_run[claim.run_id].append(claim)
    if not by_run:
        return []
    matrix = stored_matrix(Path(), [claim for claims in by_run.values() for claim in claims], store)
    observations = load_observations(run_ids_with_dependencies(matrix), store, home, fresh=False)
    shown = {
        run.planned.run_id
        for known in matrices.values()
        if known is not None
        for run in derive_statuses(_part(known, by_run), observations)
        if run.state in _UNDER_WAY
    }
    return [
        EarlierRun(run, names, paths[names[-1]])
        for run in derive_statuses(matrix, observations)
        if run.state in _UNDER_WAY and run.planned.run_id not in shown
        for names in [tuple(sorted({claim.submission for claim in by_run[run.planned.run_id]}))]
    ]


def _benchmarks(matrix: Matrix | None) -> dict[str, set[AnyBenchmark]]:
    return {run.run_id: set(run.benchmarks) for run in matrix.runs} if matrix else {}


def _is_listed(claim: ClaimRow, listed: Mapping[str, set[AnyBenchmark]]) -> bool:
    return claim.run_id in listed and listed[claim.run_id].issuperset(claim.benchmarks)


def _part(matrix: Matrix, run_ids: Collection[str]) -> Matrix:
    runs = tuple(run for run in matrix.runs if run.run_id in run_ids)
    return Matrix(matrix.path, matrix.title, runs, matrix.benchmarks)
