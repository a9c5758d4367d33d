"""The statuses of runs: reading of the journals into the store, observations of it and the cluster, states."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cebctl.status.home_matrix import load
from cebctl.status.liveness import Liveness
from cebctl.status.states import (
    ENDED,
    UNFINISHED,
    Observations,
    RunStage,
    RunStatus,
    State,
    count_states,
    derive_statuses,
)
from cebctl.text_output import write
from experiments import lineage
from experiments.benchmarks import AnyBenchmark, Transfer
from experiments.errors import InputError
from experiments.matrix.planned_run import Matrix
from jobs import file_ownership
from jobs.journal.records import NOBODY
from jobs.paths import Home
from store import journal_scan, queries
from store.connect import Store, open_memory, open_store
from store.ingest import ingest, read_all
from store.row_types import AttemptRow, ClaimRow, ResultRow, SubmissionRow


@contextmanager
def open_home(home: Home, *, create: bool = False) -> Iterator[Store]:
    """Open the store of this home, or one in memory where nothing was ever submitted, so that reading creates no files.

    Warnings of the store, such as that it was damaged and set aside, go to stderr.
    """
    file_ownership.share_umask()
    has_store = create or home.folder.exists() or home.has_own_store
    with open_store(home.store_url, home) if has_store else open_memory() as store:
        emit_warnings(store)
        try:
            yield store
        finally:
            emit_warnings(store)


def emit_warnings(store: Store) -> None:
    """Print the warnings of the store to stderr, each once."""
    while store.warnings:
        write(store.warnings.pop(0), sys.stderr)


def collect_statuses(matrix: Matrix, store: Store, home: Home) -> list[RunStatus]:
    """Return the status of every run."""
    return derive_statuses(matrix, load_observations(run_ids_with_dependencies(matrix), store, home))


def run_ids_with_dependencies(matrix: Matrix) -> list[str]:
    """Return the ids of the runs of a matrix, then of those that they extend or attack."""
    dependencies = {b.source for run in matrix.runs for b in run.benchmarks if isinstance(b, Transfer)}
    dependencies |= {parent for run in matrix.runs if (parent := lineage.parent_id(run.run))}
    return list(dict.fromkeys([*(run.run_id for run in matrix.runs), *sorted(dependencies)]))


def load_observations(run_ids: list[str], store: Store, home: Home, *, fresh: bool = True) -> Observations:
    """Return what the store, the machine and the cluster say about these runs.

    `fresh=False` changes nothing. If Slurm does not answer, `store.warnings` says so.
    """
    liveness = Liveness(home, remember=fresh)
    while True:
        with _reading(run_ids, store, home, fresh=fresh) as journals:
            observations, is_new = _observe(run_ids, journals, liveness)
        # Who had ended when looked up, but not when the journals were read, has written the last record meanwhile: the
        # next reading tells how it ended. It may name further attempts, which began meanwhile, and so on.
        if not (is_new and _has_unexplained_end(observations)):
            break
    if liveness.warning and liveness.warning not in store.warnings:
        store.warnings.append(liveness.warning)
    return observations


@contextmanager
def _reading(run_ids: list[str], store: Store, home: Home, *, fresh: bool) -> Iterator[Store]:
    """Yield a store that has read the journals of these runs and of all submissions.

    Without `fresh` the store itself stays as it is: where it is behind the journals, one in memory reads them.
    """
    if fresh:
        ingest(store, home)
        yield store
        return
    with store.reading() as connection:
        scan = journal_scan.scan(connection, home)
    concerned = {source.name for source in journal_scan.journal_files(home, run_ids)}
    if all(source.name not in concerned for source in (*scan.grown, *scan.replaced, *scan.vanished)):
        yield store
        return
    with open_memory() as memory:
        read_all(memory, journal_scan.journal_files(home, run_ids))
        yield memory


def _has_unexplained_end(observations: Observations) -> bool:
    """Whether an attempt, or a worker that was to begin one, is gone without a record of its end."""
    if any(job.state in UNFINISHED and observations.is_job_alive(job) is False for job in observations.jobs.values()):
        return True
    for stage, claims in observations.claims.items():
        newest = observations.jobs.get(stage)
        if newest is not None and newest.state in ENDED and newest.submission == claims[-1].submission:
            continue
        if not any(observations.is_claim_alive(claim, newest) for claim in claims):
            return True
    return False


def _observe(run_ids: list[str], store: Store, liveness: Liveness) -> tuple[Observations, bool]:
    """Return the observations, and whether something was looked up for them that had not been before."""
    claims: dict[RunStage, list[ClaimRow]] = defaultdict(list)
    for claim in queries.open_claims(store, run_ids):
        claims[claim.run_id, claim.stage].append(claim)
    results: dict[str, list[ResultRow]] = defaultdict(list)
    for result in queries.results(store, run_ids):
        results[result.run_id].append(result)
    jobs = _newest_jobs(store, run_ids)
    is_new = liveness.look_up(claims, jobs)
    trainings, renewed, latest = _generations(store, run_ids, jobs)
    observations = Observations(
        jobs,
        claims,
        results,
        liveness.is_claim_alive,
        liveness.is_job_alive,
        liveness.slurm_reason,
        training_generations=trainings,
        renewed_benchmarks=renewed,
        latest_generations=latest,
    )
    failed = queries.failed_benchmarks(store, run_ids, observations.benchmark_generation)
    return replace(observations, failed_benchmarks=failed), is_new


def _newest_jobs(store: Store, run_ids: list[str]) -> dict[RunStage, AttemptRow]:
    """Return the newest attempt at each stage: of a training, that of the newest generation, whichever ended last."""
    ordered = sorted(
        queries.attempts(store, run_ids), key=lambda job: (job.generation if job.stage == "train" else 1, job.attempt)
    )
    return {(job.run_id, job.stage): job for job in ordered}


def _generations(
    store: Store, run_ids: list[str], jobs: Mapping[RunStage, AttemptRow]
) -> tuple[dict[str, int], dict[str, dict[AnyBenchmark, int]], dict[str, int]]:
    """Return the training, renewed and latest generations of `Observations`.

    They come from the claims, and from the attempts as well, should the journal of the claims be gone.
    """
    trainings = {run_id: job.generation for (run_id, stage), job in jobs.items() if stage == "train"}
    renewed: dict[str, dict[AnyBenchmark, int]] = defaultdict(dict)
    latest = {run_id: job.generation for (run_id, _), job in jobs.items()}
    for row in queries.renewals(store, run_ids):
        latest[row.run_id] = max(row.generation, latest.get(row.run_id, 1))
        if row.stage == "train":
            trainings[row.run_id] = max(row.generation, trainings.get(row.run_id, 1))
        of_run = renewed[row.run_id]
        of_run |= {b: max(row.generation, of_run.get(b, 1)) for b in row.benchmarks}
    return trainings, renewed, latest


@dataclass(frozen=True)
class MatrixRow:
    """A matrix that was submitted from this home; no counts if its file has changed or is gone."""

    matrix: str
    path: str
    submitted: float | None
    counts: dict[State, int] | None
    loaded: Matrix | None = None


def load_submitted(store: Store, home: Home) -> dict[str, Matrix | None]:
    """Return the matrix of every file that was ever submitted, None for one that is gone or has faults."""
    matrices: dict[str, Matrix | None] = {}
    for path in {row.matrix_path for row in queries.submissions(store) if row.executor != NOBODY}:
        matrices[path] = None
        with suppress(InputError):
            matrices[path] = load(Path(path), home)
    return matrices


def submitted_matrices(store: Store, home: Home) -> list[MatrixRow]:
    """Return every matrix that was ever submitted, by its newest submission."""
    ingest(store, home)
    submissions = [row for row in queries.submissions(store) if row.executor != NOBODY]
    newest: dict[str, SubmissionRow] = {row.matrix_path: row for row in submissions}
    matrices = {path: matrix for path, matrix in load_submitted(store, home).items() if matrix}
    # One query of the cluster for all matrices, which may share runs.
    run_ids = dict.fromkeys(run_id for matrix in matrices.values() for run_id in run_ids_with_dependencies(matrix))
    observations = load_observations(list(run_ids), store, home)
    counts = {path: count_states(derive_statuses(matrix, observations)) for path, matrix in matrices.items()}
    return [
        MatrixRow(row.matrix, path, row.submitted_at, counts.get(path), matrices.get(path))
        for path, row in sorted(newest.items())
    ]
