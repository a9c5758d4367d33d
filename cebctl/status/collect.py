"""Looking: the journals into the store, and from there the state of every run."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

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
from experiments import lineage
from experiments.benchmarks import AnyBenchmark, Transfer
from experiments.errors import InputError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs import file_ownership
from jobs.journal.records import NOBODY
from jobs.paths import Home
from store import queries
from store.connect import Store, open_memory, open_store
from store.ingest import ingest
from store.row_types import AttemptRow, ClaimRow, ResultRow, SubmissionRow


@contextmanager
def open_home(home: Home, *, create: bool = False) -> Iterator[Store]:
    """The store of this home; where nothing was ever submitted one in memory, so that looking creates none.

    What the store has to say, that it was damaged and set aside, goes to stderr, whatever the command.
    """
    file_ownership.share_umask()
    there = create or home.folder.exists() or home.has_own_store
    with open_store(home.store_url, home) if there else open_memory() as store:
        emit_warnings(store)
        try:
            yield store
        finally:
            emit_warnings(store)


def emit_warnings(store: Store) -> None:
    """Pass on, to stderr, what the store has to say."""
    while store.warnings:
        print(store.warnings.pop(0), file=sys.stderr)


def collect_statuses(matrix: Matrix, store: Store, home: Home) -> list[RunStatus]:
    """The status of every run."""
    return derive_statuses(matrix, load_observations(run_ids_with_dependencies(matrix), store, home))


def _gone_without_a_word(now: Observations) -> bool:
    """Whether an attempt, or somebody who was to begin one, is gone and has not said how it ended."""
    if any(job.state in UNFINISHED and now.is_job_alive(job) is False for job in now.jobs.values()):
        return True
    for key, claims in now.claims.items():
        newest = now.jobs.get(key)
        said = newest is not None and newest.state in ENDED and newest.submission == claims[-1].submission
        if not said and not any(now.is_claim_alive(claim, newest) for claim in claims):
            return True
    return False


def run_ids_with_dependencies(matrix: Matrix) -> list[str]:
    """The runs of a matrix and those that they wait for, by id."""
    others = {b.source for run in matrix.runs for b in run.benchmarks if isinstance(b, Transfer)}
    others |= {extended for run in matrix.runs if (extended := lineage.parent_id(run.run))}
    return list(dict.fromkeys([*(run.run_id for run in matrix.runs), *sorted(others)]))


def load_observations(run_ids: list[str], store: Store, home: Home, *, fresh: bool = True) -> Observations:
    """The same of some runs. That Slurm does not answer is added to `store.warnings`."""
    alive = Liveness(home, remember=fresh)
    if fresh:
        ingest(store, home)
        now = _facts(run_ids, store, alive)
        if not _gone_without_a_word(now):
            return now
        # Gone, or it ended between the reading of its journal and the look at its process: what is gone has
        # written all it ever will, so a second reading tells.
        ingest(store, home)
    return _facts(run_ids, store, alive)


def _facts(run_ids: list[str], store: Store, alive: Liveness) -> Observations:
    claims: dict[RunStage, list[ClaimRow]] = defaultdict(list)
    for claim in queries.open_claims(store, run_ids):
        claims[claim.run_id, claim.stage].append(claim)
    results: dict[str, list[ResultRow]] = defaultdict(list)
    for result in queries.results(store, run_ids):
        results[result.run_id].append(result)
    jobs = _newest_jobs(store, run_ids)
    alive.query_queue(claims, jobs)
    if alive.warning and alive.warning not in store.warnings:
        store.warnings.append(alive.warning)
    trainings, renewed, last = _generations(store, run_ids, jobs)
    now = Observations(
        jobs,
        claims,
        results,
        alive.is_claim_alive,
        alive.is_job_alive,
        alive.slurm_reason,
        training_generations=trainings,
        renewed_benchmarks=renewed,
        latest_generations=last,
    )
    return replace(now, failed_benchmarks=queries.failed_benchmarks(store, run_ids, now.benchmark_generation))


def _newest_jobs(store: Store, run_ids: list[str]) -> dict[RunStage, AttemptRow]:
    """The newest attempt at each stage: of a training, that of its newest generation, whichever ended last."""
    ordered = sorted(
        queries.attempts(store, run_ids), key=lambda job: (job.generation if job.stage == "train" else 1, job.attempt)
    )
    return {(job.run_id, job.stage): job for job in ordered}


def _generations(
    store: Store, run_ids: list[str], jobs: Mapping[RunStage, AttemptRow]
) -> tuple[dict[str, int], dict[str, dict[AnyBenchmark, int]], dict[str, int]]:
    """What was submitted again, as `Facts` has it: from the claims and, should their journal be gone, the attempts."""
    trainings = {run_id: job.generation for (run_id, stage), job in jobs.items() if stage == "train"}
    renewed: dict[str, dict[AnyBenchmark, int]] = defaultdict(dict)
    last = {run_id: job.generation for (run_id, _), job in jobs.items()}
    for row in queries.renewals(store, run_ids):
        last[row.run_id] = max(row.generation, last.get(row.run_id, 1))
        if row.stage == "train":
            trainings[row.run_id] = max(row.generation, trainings.get(row.run_id, 1))
        of_run = renewed[row.run_id]
        of_run |= {b: max(row.generation, of_run.get(b, 1)) for b in row.benchmarks}
    return trainings, renewed, last


@dataclass(frozen=True)
class MatrixRow:
    """A matrix that was submitted from this home; no counts if its file is not what it was or is gone."""

    matrix: str
    path: str
    submitted: float | None
    counts: dict[State, int] | None


def submitted_matrices(store: Store, home: Home) -> list[MatrixRow]:
    """Every matrix that was ever submitted, by its newest submission."""
    ingest(store, home)
    submissions = [row for row in queries.submissions(store) if row.executor != NOBODY]
    newest: dict[str, SubmissionRow] = {row.matrix_path: row for row in submissions}
    matrices: dict[str, Matrix] = {}
    for path in newest:
        with suppress(InputError):
            matrices[path] = load(Path(path))
    run_ids = dict.fromkeys(run_id for matrix in matrices.values() for run_id in run_ids_with_dependencies(matrix))
    observations = load_observations(list(run_ids), store, home)
    return [
        MatrixRow(
            row.matrix,
            path,
            row.submitted_at,
            count_states(derive_statuses(matrices[path], observations)) if path in matrices else None,
        )
        for path, row in sorted(newest.items())
    ]
