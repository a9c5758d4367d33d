"""The state of every stage of every run, derived from the store's rows and from which processes and jobs are alive.

Every output uses this vocabulary:

    new      never run, or given back
    queued   claimed by a submission whose workers live or whose job waits in the cluster's queue
    running  its newest attempt holds the lease and lives; or its machine can't be asked, and its last record is recent;
             on a cluster: its job runs
    done     train: its newest attempt succeeded; evaluate: every benchmark of the matrix has its result
    failed   its newest attempt ended by an error of its own
    lost     its newest attempt is gone without a terminal record, or was stopped; it goes on from its checkpoint
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from experiments import lineage
from experiments.benchmarks import AnyBenchmark, Transfer, is_runnable
from experiments.identity import evaluation_id
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.paths import Stage
from store.row_types import AttemptRow, ClaimRow, ResultRow

RunStage = tuple[str, Stage]
"""A run, by its id, and one of its stages."""
State = Literal["new", "queued", "running", "done", "failed", "lost"]
STATES: tuple[State, ...] = ("new", "queued", "running", "done", "failed", "lost")

UNFINISHED = ("started",)
"""The states of an attempt, as the store has them, in which it may still be at work."""
ENDED = ("succeeded", "failed", "died")
"""The states in which an attempt has ended, and only a new submission or the executor begins another."""
SILENCE_SECONDS = 300.0
"""A job on a machine that can't be asked counts as running this long after its last record."""


def submittable_states(*, retry_failed: bool) -> frozenset[State]:
    """Return the states in which nobody is at a stage, so that `submit` takes it."""
    return frozenset(("new", "lost", "failed") if retry_failed else ("new", "lost"))


@dataclass(frozen=True)
class StageStatus:
    """One stage of one run."""

    stage: Stage
    state: State
    job: AttemptRow | None = None
    """Its newest attempt."""
    missing: tuple[AnyBenchmark, ...] = ()
    """For evaluate: the run's benchmarks that can run and have no result yet."""
    blocked_benchmarks: tuple[Transfer, ...] = ()
    """The transfer attacks among `missing` whose source run is not trained yet."""
    untrained_parent: str = ""
    """For train: the id of the run that this one extends, as long as that is not trained."""
    blocked_by: tuple[str, ...] = ()
    """The runs, by id, whose training has to end before a part that nobody has taken can be submitted; this very run,
    where another submission trains it."""
    submitted_by: str = ""
    """The user who claimed it last; empty where nobody did."""
    slurm_note: str = ""
    """Slurm's words on its job: why it waits, or how it ended."""
    generation: int = 1
    """The generation in which it is done, or in which the missing benchmarks will be."""
    training_generation: int = 1
    """The generation of the training that it is, or that it measures."""
    parent_generation: int = 1
    """For train: the generation of the training of the run that this one extends."""


@dataclass(frozen=True)
class RunStatus:
    """One run and its stages, in order."""

    planned: PlannedRun
    stages: tuple[StageStatus, ...]

    @property
    def current(self) -> StageStatus:
        """Return the first stage that is not done, else the last one."""
        return next((stage for stage in self.stages if stage.state != "done"), self.stages[-1])

    @property
    def state(self) -> State:
        return self.current.state


@dataclass(frozen=True)
class Observations:
    """The state of the store, the machine and the cluster, from which the states of runs are derived."""

    jobs: Mapping[RunStage, AttemptRow]
    """The newest attempt at each stage."""
    claims: Mapping[RunStage, Sequence[ClaimRow]]
    """The claims on each stage that nobody released."""
    results: Mapping[str, Sequence[ResultRow]]
    """By run_id."""
    is_claim_alive: Callable[[ClaimRow, AttemptRow | None], bool]
    """Whether somebody lives who will yet begin to work on the claim, given its stage's newest attempt."""
    is_job_alive: Callable[[AttemptRow], bool | None]
    """Whether the attempt's process lives; None if it can't be known from here."""
    slurm_reason: Callable[[ClaimRow, AttemptRow | None], str] = lambda *_: ""
    """Return Slurm's words on the claim's job."""
    failed_benchmarks: Mapping[str, Collection[AnyBenchmark]] = field(default_factory=dict)
    """By run_id: the benchmarks of failed attempts at evaluations, in the generation to be measured."""
    training_generations: Mapping[str, int] = field(default_factory=dict)
    """By run_id: the generation to be trained, where it is not the first."""
    renewed_benchmarks: Mapping[str, Mapping[AnyBenchmark, int]] = field(default_factory=dict)
    """By run_id: the generation in which each benchmark is to be measured, where it was submitted again."""
    latest_generations: Mapping[str, int] = field(default_factory=dict)
    """By run_id: the newest generation of any part of the run, where it is not the first."""

    def training_generation(self, run_id: str) -> int:
        """Return the generation to be trained."""
        return self.training_generations.get(run_id, 1)

    def benchmark_generation(self, run_id: str, benchmark: AnyBenchmark) -> int:
        """Return the generation in which a benchmark is to be measured: not one before that of the training."""
        return max(self.training_generation(run_id), self.renewed_benchmarks.get(run_id, {}).get(benchmark, 1))


def derive_statuses(matrix: Matrix, observations: Observations) -> list[RunStatus]:
    """Return the status of every run of the matrix, in its order."""
    return [_derive_status(planned, observations) for planned in matrix.runs]


def count_states(runs: Sequence[RunStatus]) -> dict[State, int]:
    """Return the number of runs in each state, also where it is 0."""
    counts = Counter(run.state for run in runs)
    return {state: counts[state] for state in STATES}


def runs_with_pending_training(runs: Iterable[RunStatus], under_way: Iterable[str], *, retry_failed: bool) -> set[str]:
    """Return the runs that are `under_way`, by id, and those that one submission would train besides."""
    pending, submittable = set(under_way), submittable_states(retry_failed=retry_failed)
    # Parents first: a run that extends a pending one is trained in the same submission.
    for run in sorted(runs, key=lambda run: len(run.planned.run.extends or ())):
        train = run.stages[0]
        if train.state in submittable and (not train.untrained_parent or train.untrained_parent in pending):
            pending.add(run.planned.run_id)
    return pending


def runs_in_training(observations: Observations) -> list[str]:
    """Return the ids of the runs whose training is queued or running."""
    run_ids = [run_id for run_id, stage in observations.claims if stage == "train"]
    return [run_id for run_id in run_ids if attempt_state(run_id, "train", observations) in ("queued", "running")]


def _derive_status(planned: PlannedRun, observations: Observations) -> RunStatus:
    run_id, parent = planned.run_id, lineage.parent_id(planned.run) or ""
    train_state = attempt_state(run_id, "train", observations)
    generation = observations.training_generation(run_id)
    is_waiting = bool(parent) and train_state != "done" and attempt_state(parent, "train", observations) != "done"
    train = StageStatus(
        "train",
        train_state,
        observations.jobs.get((run_id, "train")),
        untrained_parent=parent if is_waiting else "",
        blocked_by=(parent,) if is_waiting and train_state not in ("queued", "running") else (),
        slurm_note=slurm_note(run_id, "train", observations),
        submitted_by=_submitter(run_id, "train", observations),
        generation=generation,
        training_generation=generation,
        parent_generation=observations.training_generation(parent),
    )
    evaluations = _evaluations(planned.benchmarks, planned.run.data.name)
    if not evaluations:
        return RunStatus(planned, (train,))
    measured = {row.evaluation_id: row.generation for row in observations.results.get(run_id, ())}
    required = {benchmark: observations.benchmark_generation(run_id, benchmark) for benchmark, _ in evaluations}
    missing = tuple(b for b, evaluation in evaluations if measured.get(evaluation, 0) < required[b])
    generations = (required[b] for b in missing) if missing else (measured[evaluation] for _, evaluation in evaluations)
    blocked = tuple(
        b for b in missing if isinstance(b, Transfer) and attempt_state(b.source, "train", observations) != "done"
    )
    in_training = train_state in ("queued", "running")
    taken = _taken_benchmarks(run_id, observations) if blocked or (missing and in_training) else set()
    own = (run_id,) if in_training and not taken.union(blocked).issuperset(missing) else ()
    evaluate = StageStatus(
        "evaluate",
        _evaluate_state(run_id, train_state, missing, observations),
        observations.jobs.get((run_id, "evaluate")),
        missing,
        blocked,
        blocked_by=(*own, *dict.fromkeys(b.source for b in blocked if b not in taken)),
        slurm_note=slurm_note(run_id, "evaluate", observations),
        submitted_by=_submitter(run_id, "evaluate", observations),
        generation=max(generations),
        training_generation=generation,
    )
    return RunStatus(planned, (train, evaluate))


def slurm_note(run_id: str, stage: Stage, observations: Observations) -> str:
    """Return Slurm's words on the job of a stage's newest claim."""
    claims = observations.claims.get((run_id, stage), ())
    return observations.slurm_reason(claims[-1], observations.jobs.get((run_id, stage))) if claims else ""


def _submitter(run_id: str, stage: Stage, observations: Observations) -> str:
    claims = observations.claims.get((run_id, stage), ())
    return (claims[-1].submitted_by or "") if claims else ""


def _taken_benchmarks(run_id: str, observations: Observations) -> set[AnyBenchmark]:
    """Return the benchmarks that somebody who lives measures or will measure."""
    job = observations.jobs.get((run_id, "evaluate"))
    running = job.submission if job and job.state in UNFINISHED and _is_running(job, observations) else None
    return {
        benchmark
        for claim in observations.claims.get((run_id, "evaluate"), ())
        if observations.is_claim_alive(claim, job) or claim.submission == running
        for benchmark in claim.benchmarks
    }


# Cached, because the runs of a matrix share their benchmarks, and each id is a hash of JSON.
@lru_cache(maxsize=1024)
def _evaluations(benchmarks: tuple[AnyBenchmark, ...], data: str) -> tuple[tuple[AnyBenchmark, str], ...]:
    """Return the benchmarks that can run, with the ids of their evaluations."""
    return tuple((benchmark, evaluation_id(benchmark, data)) for benchmark in benchmarks if is_runnable(benchmark))


def _evaluate_state(run_id: str, train: State, missing: Sequence[AnyBenchmark], observations: Observations) -> State:
    if not missing:
        return "done"
    state = attempt_state(run_id, "evaluate", observations)
    failed = observations.failed_benchmarks.get(run_id, missing if state == "failed" else ())
    if state in ("done", "failed"):
        # The attempt may have had other benchmarks: another matrix's, or those before some were added.
        return "failed" if all(benchmark in failed for benchmark in missing) else "new"
    if state == "queued" and train not in ("queued", "running", "done"):
        return "new"  # its worker passes over a run that is not trained
    return state


def attempt_state(run_id: str, stage: Stage, observations: Observations) -> State:
    """Return the state of a stage by its newest attempt and its claims alone.

    An attempt at a training of an earlier generation than the one to be trained does not count.
    """
    newest = observations.jobs.get((run_id, stage))
    is_current = stage == "evaluate" or (newest and newest.generation >= observations.training_generation(run_id))
    job = newest if is_current else None
    claims = observations.claims.get((run_id, stage), ())
    if job is not None and job.state == "succeeded":
        later = [claim for claim in claims if claim.submission != job.submission]
        # A later claim on an evaluation may be for benchmarks that this attempt did not have.
        waits = stage == "evaluate" and any(observations.is_claim_alive(claim, job) for claim in later)
        return "queued" if waits else "done"
    if job is not None and job.state in UNFINISHED and _is_running(job, observations):
        return "running"
    if any(observations.is_claim_alive(claim, newest) for claim in claims):
        return "queued"
    if job is None:
        return "new"
    return "failed" if job.state == "failed" else "lost"


def _is_running(job: AttemptRow, observations: Observations) -> bool:
    alive = observations.is_job_alive(job)
    return alive if alive is not None else time.time() - (job.updated_at or 0.0) < SILENCE_SECONDS
