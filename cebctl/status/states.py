"""The state of every stage of every run of a matrix, from the store's rows and from who is alive.

One vocabulary, here and in every output:

    new      never run, or given back
    queued   claimed by a submission whose workers live or whose job waits in the cluster's queue
    running  its newest attempt holds the lease and lives, or its machine can't be asked but it was heard of lately;
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
"""Those in which it is not, and nobody but a new submission or the executor begins another."""


def submittable_states(*, retry_failed: bool) -> frozenset[State]:
    """Those in which nobody is at a stage, so that `submit` takes it."""
    return frozenset(("new", "lost", "failed") if retry_failed else ("new", "lost"))


SILENCE_SECONDS = 300.0
"""A job on a machine that can't be asked counts as running this long after its last record."""


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
    """Those of `missing` that need a run that is not trained yet: transfer, until its source is."""
    parent_run_id: str = ""
    """For train: the run that this one extends, until that is trained."""
    blocked_by: tuple[str, ...] = ()
    """The runs that keep what nobody has taken from being submitted: the one it extends, or sources of `waiting`."""
    submitted_by: str = ""
    """Whose it is: the user who claimed it last; empty where nobody did."""
    slurm_note: str = ""
    """What the cluster says of its job, in words: why it waits, or how it ended."""
    generation: int = 1
    """In which it is done, or what is missing will be."""
    training_generation: int = 1
    """The generation of the training that it is, or measures."""
    parent_generation: int = 1
    """For train: that of the training of the run that this one extends."""


@dataclass(frozen=True)
class RunStatus:
    """One run and its stages, in order."""

    planned: PlannedRun
    stages: tuple[StageStatus, ...]

    @property
    def current(self) -> StageStatus:
        """The first stage that is not done, else the last one."""
        return next((stage for stage in self.stages if stage.state != "done"), self.stages[-1])

    @property
    def state(self) -> State:
        return self.current.state


@dataclass(frozen=True)
class Observations:
    """Everything states are derived from."""

    jobs: Mapping[RunStage, AttemptRow]
    """The newest attempt by (run_id, stage)."""
    claims: Mapping[RunStage, Sequence[ClaimRow]]
    """Claims that nobody released, by (run_id, stage)."""
    results: Mapping[str, Sequence[ResultRow]]
    """By run_id."""
    is_claim_alive: Callable[[ClaimRow, AttemptRow | None], bool]
    """Whether somebody lives who will yet begin to work on the claim, given its stage's newest attempt."""
    is_job_alive: Callable[[AttemptRow], bool | None]
    """Whether the attempt's process lives; None if it can't be known from here."""
    slurm_reason: Callable[[ClaimRow, AttemptRow | None], str] = lambda *_: ""
    """What the cluster says of the claim's job, in words."""
    failed_benchmarks: Mapping[str, Collection[AnyBenchmark]] = field(default_factory=dict)
    """What attempts at evaluations that failed were to measure in the generation that is wanted, by run_id."""
    training_generations: Mapping[str, int] = field(default_factory=dict)
    """The generation of the training that is wanted, by run_id, where it is not the first."""
    renewed_benchmarks: Mapping[str, Mapping[AnyBenchmark, int]] = field(default_factory=dict)
    """The generation in which a benchmark is wanted, by run_id, where it was to be measured anew."""
    latest_generations: Mapping[str, int] = field(default_factory=dict)
    """The newest generation there is of anything of a run, by run_id, where it is not the first."""

    def training_generation(self, run_id: str) -> int:
        """The generation of the training that is wanted."""
        return self.training_generations.get(run_id, 1)

    def benchmark_generation(self, run_id: str, benchmark: AnyBenchmark) -> int:
        """The generation in which a benchmark is wanted: not one from before the training."""
        return max(self.training_generation(run_id), self.renewed_benchmarks.get(run_id, {}).get(benchmark, 1))


def derive_statuses(matrix: Matrix, facts: Observations) -> list[RunStatus]:
    """The status of every run of the matrix, in its order."""
    return [_run_status(planned, facts) for planned in matrix.runs]


def count_states(runs: Sequence[RunStatus]) -> dict[State, int]:
    """How many runs are in each state, every state named."""
    found = Counter(run.state for run in runs)
    return {state: found[state] for state in STATES}


def runs_with_pending_training(runs: Iterable[RunStatus], under_way: Iterable[str], *, retry_failed: bool) -> set[str]:
    """The runs that are trained without any other submission: what is `under_way`, by id, and what one would take."""
    found, offered = set(under_way), submittable_states(retry_failed=retry_failed)
    for run in sorted(runs, key=lambda run: len(run.planned.run.extends or ())):
        train = run.stages[0]
        if train.state in offered and (not train.parent_run_id or train.parent_run_id in found):
            found.add(run.planned.run_id)
    return found


def runs_in_training(facts: Observations) -> list[str]:
    """The runs whose training somebody has taken, and is at or will be."""
    trains = [run_id for run_id, stage in facts.claims if stage == "train"]
    return [run_id for run_id in trains if attempt_state(run_id, "train", facts) in ("queued", "running")]


def _run_status(planned: PlannedRun, facts: Observations) -> RunStatus:
    run_id = planned.run_id
    trained = attempt_state(run_id, "train", facts)
    awaits = "" if trained == "done" else _awaited(planned, facts)
    train = StageStatus(
        "train",
        trained,
        _job(run_id, "train", facts),
        parent_run_id=awaits,
        blocked_by=(awaits,) if awaits and trained not in ("queued", "running") else (),
        slurm_note=slurm_note(run_id, "train", facts),
        submitted_by=_whose(run_id, "train", facts),
        generation=facts.training_generation(run_id),
        training_generation=facts.training_generation(run_id),
        parent_generation=facts.training_generation(lineage.parent_id(planned.run) or ""),
    )
    evaluations = _evaluations(planned.benchmarks, planned.run.data.name)
    if not evaluations:
        return RunStatus(planned, (train,))
    have = {row.evaluation_id: row.generation for row in facts.results.get(run_id, ())}
    wanted = {benchmark: facts.benchmark_generation(run_id, benchmark) for benchmark, _ in evaluations}
    missing = tuple(b for b, evaluation in evaluations if have.get(evaluation, 0) < wanted[b])
    newest = (wanted[b] for b in missing) if missing else (have[evaluation] for _, evaluation in evaluations)
    waiting = _waiting(missing, facts)
    taken = _taken(run_id, facts) if waiting else ()
    evaluate = StageStatus(
        "evaluate",
        _evaluate_state(run_id, train.state, missing, facts),
        _job(run_id, "evaluate", facts),
        missing,
        waiting,
        blocked_by=tuple(dict.fromkeys(b.source for b in waiting if b not in taken)),
        slurm_note=slurm_note(run_id, "evaluate", facts),
        submitted_by=_whose(run_id, "evaluate", facts),
        generation=max(newest),
        training_generation=facts.training_generation(run_id),
    )
    return RunStatus(planned, (train, evaluate))


def slurm_note(run_id: str, stage: Stage, facts: Observations) -> str:
    """What the cluster says of the job of a stage's newest claim, in words."""
    claims = facts.claims.get((run_id, stage), ())
    return facts.slurm_reason(claims[-1], _job(run_id, stage, facts)) if claims else ""


def _whose(run_id: str, stage: Stage, facts: Observations) -> str:
    claims = facts.claims.get((run_id, stage), ())
    return (claims[-1].submitted_by or "") if claims else ""


def _awaited(planned: PlannedRun, facts: Observations) -> str:
    extended = lineage.parent_id(planned.run)
    return extended if extended and attempt_state(extended, "train", facts) != "done" else ""


def _taken(run_id: str, facts: Observations) -> set[AnyBenchmark]:
    """What somebody who lives is measuring or will."""
    job = _job(run_id, "evaluate", facts)
    at_it = job is not None and job.state in UNFINISHED and _runs(job, facts)
    return {
        benchmark
        for claim in facts.claims.get((run_id, "evaluate"), ())
        if facts.is_claim_alive(claim, job) or (at_it and job and claim.submission == job.submission)
        for benchmark in claim.benchmarks
    }


def _waiting(missing: Sequence[AnyBenchmark], facts: Observations) -> tuple[Transfer, ...]:
    return tuple(b for b in missing if isinstance(b, Transfer) and attempt_state(b.source, "train", facts) != "done")


@lru_cache(maxsize=1024)
def _evaluations(benchmarks: tuple[AnyBenchmark, ...], data: str) -> tuple[tuple[AnyBenchmark, str], ...]:
    """The benchmarks that can run, with the identities of their evaluations."""
    return tuple((benchmark, evaluation_id(benchmark, data)) for benchmark in benchmarks if is_runnable(benchmark))


def _evaluate_state(run_id: str, train: State, missing: Sequence[AnyBenchmark], facts: Observations) -> State:
    if not missing:
        return "done"
    state = attempt_state(run_id, "evaluate", facts)
    failed = facts.failed_benchmarks.get(run_id, missing if state == "failed" else ())
    if state in ("done", "failed"):  # with others: of another matrix, or before these were added
        return "failed" if all(benchmark in failed for benchmark in missing) else "new"
    if state == "queued" and train not in ("queued", "running", "done"):
        return "new"  # its worker passes over a run that is not trained
    return state


def attempt_state(run_id: str, stage: Stage, facts: Observations) -> State:
    """The state of a stage by its newest attempt and its claims alone; of a training, by those of its generation."""
    newest = _job(run_id, stage, facts)
    counts = newest is not None and (stage == "evaluate" or newest.generation >= facts.training_generation(run_id))
    job = newest if counts else None
    claims = facts.claims.get((run_id, stage), ())
    if job is not None and job.state == "succeeded":
        later = [claim for claim in claims if claim.submission != job.submission]
        waiting = stage == "evaluate" and any(facts.is_claim_alive(claim, job) for claim in later)
        return "queued" if waiting else "done"
    if job is not None and job.state in UNFINISHED and _runs(job, facts):
        return "running"
    if any(facts.is_claim_alive(claim, newest) for claim in claims):
        return "queued"
    if job is None:
        return "new"
    return "failed" if job.state == "failed" else "lost"


def _runs(job: AttemptRow, facts: Observations) -> bool:
    alive = facts.is_job_alive(job)
    return alive if alive is not None else time.time() - (job.updated_at or 0.0) < SILENCE_SECONDS


def _job(run_id: str, stage: Stage, facts: Observations) -> AttemptRow | None:
    return facts.jobs.get((run_id, stage))
