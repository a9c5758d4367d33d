"""Where claims go: to workers on this machine, or to arrays on a Slurm cluster. Both are sent in batches.

A batch is sent whole or not at all; `submit` releases the claims of one that is not sent.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from cebctl.status.states import Observations, RunStatus, StageStatus, runs_with_pending_training
from cebctl.submission.job_arrays import JobArray, divide_into_lanes, make_arrays
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError, UnreachableError
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal import records as journal
from jobs.journal.records import Claim, Launched
from jobs.local import launch
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import client, sbatch

StagesToSubmit = Sequence[tuple[RunStatus, StageStatus]]


@dataclass(frozen=True)
class Batch:
    """Claims that are sent together and, on a cluster, the array whose elements work on them."""

    claims: tuple[Claim, ...]
    record: journal.PlannedArray | None = None
    max_parallel: int | None = None
    """How many of the elements may run at a time."""
    sources: tuple[tuple[str, int], ...] = ()
    """Elements of the submission's own arrays whose end it waits for."""
    external_dependencies: tuple[str, ...] = ()
    """Elements of other submissions' arrays, by Slurm's ids, whose end it waits for."""
    lane: tuple[str, ...] = ()
    """The submission's own arrays before it whose end it waits for, so that not too many jobs run at once."""

    @property
    def records(self) -> tuple[journal.AnyRecord, ...]:
        return ((self.record,) if self.record else ()) + self.claims


@dataclass(frozen=True)
class BatchResult:
    """The part of a batch that the executor accepted."""

    launched: tuple[Launched, ...]
    claims: tuple[Claim, ...]
    rejection: str = ""
    """Why it did not accept the other claims."""


class Executor(Protocol):
    """An executor, as `submit` uses it."""

    @property
    def name(self) -> str:
        """Its name in the journal."""

    @property
    def max_parallel(self) -> int | None:
        """The limit on jobs of a submission that run at a time; None if there is none."""

    def dependable_runs(
        self, runs: Sequence[RunStatus], observations: Observations, *, retry_failed: bool
    ) -> Collection[str]:
        """Return the runs that others, or their benchmarks, can wait for: their training is under way or will be."""

    def batches(
        self, submission: str, matrix: Matrix, stages: StagesToSubmit, observations: Observations
    ) -> list[Batch]:
        """Return the batches of a submission of this name, in the order of their sending."""

    def send(
        self, home: Home, snapshot: Snapshot, submission: str, batch: Batch, results: Sequence[BatchResult]
    ) -> BatchResult:
        """Send a batch behind those that had these results. Raises CebctlError if nothing of it is accepted."""

    def is_outcome_unknown(self, error: CebctlError) -> bool:
        """Whether a batch that met this error may be under way all the same."""


def make_claim(
    matrix: Matrix,
    planned: PlannedRun,
    stage: StageStatus,
    dependable: Collection[str] = (),
    job: str | None = None,
    index: int | None = None,
) -> Claim:
    """Return the claim on a stage: on all of its benchmarks but those that wait for a run which is not `dependable`.

    On a cluster the array `job` works on it, in its element `index`.
    """
    blocked = [b for b in stage.blocked_benchmarks if getattr(b, "source", None) not in dependable]
    return Claim(
        run_id=planned.run_id,
        label=planned.name,
        stage=stage.stage,
        spec=msgspec.to_builtins(planned.run),
        benchmarks=[benchmark for benchmark in stage.missing if benchmark not in blocked],
        execution=matrix.resources(planned, stage.stage).execution,
        job=job,
        index=index,
        generation=stage.generation,
        training=stage.training_generation,
        extended=stage.parent_generation,
    )


@dataclass(frozen=True)
class Local:
    """Workers on this machine, which share all claims."""

    workers: int | None = None
    max_parallel: int | None = None
    name: str = "local"

    def dependable_runs(
        self, runs: Sequence[RunStatus], observations: Observations, *, retry_failed: bool
    ) -> Collection[str]:
        return ()

    def batches(
        self, submission: str, matrix: Matrix, stages: StagesToSubmit, observations: Observations
    ) -> list[Batch]:
        return [Batch(tuple(make_claim(matrix, run.planned, stage) for run, stage in stages))]

    def send(
        self, home: Home, snapshot: Snapshot, submission: str, batch: Batch, results: Sequence[BatchResult]
    ) -> BatchResult:
        workers = self.workers or min(len(os.sched_getaffinity(0)), len({claim.run_id for claim in batch.claims}))
        workers = min(workers, self.max_parallel or workers)
        return BatchResult(tuple(launch.launch_local(home, snapshot, submission, workers)), batch.claims)

    def is_outcome_unknown(self, error: CebctlError) -> bool:
        return False


@dataclass(frozen=True)
class Slurm:
    """Arrays, an element for each claim."""

    array_size: int
    """One more than the largest index of an array on this cluster."""
    max_parallel: int | None = None
    """How many elements may run at a time, over all arrays: see `divide_into_lanes`."""
    exclude_nodes: tuple[str, ...] = ()
    name: str = "slurm"
    unanswered: set[str] = field(default_factory=set, compare=False)
    """The arrays that may have been accepted, though Slurm did not answer."""

    def dependable_runs(
        self, runs: Sequence[RunStatus], observations: Observations, *, retry_failed: bool
    ) -> Collection[str]:
        return runs_with_pending_training(runs, _queued_trainings(observations), retry_failed=retry_failed)

    def batches(
        self, submission: str, matrix: Matrix, stages: StagesToSubmit, observations: Observations
    ) -> list[Batch]:
        queued = _queued_trainings(observations)
        dependable = {run.planned.run_id for run, stage in stages if stage.stage == "train"} | set(queued)
        statuses = {(run.planned.run_id, stage.stage): (run.planned, stage) for run, stage in stages}
        array_stages = [(run.planned, stage.stage, _sources(stage, dependable, queued)) for run, stage in stages]
        trained_by: dict[str, tuple[str, int]] = {}
        batches = []
        job_arrays = make_arrays(matrix, array_stages, self.array_size)
        limits, earlier = _limits(job_arrays, self.max_parallel) if self.max_parallel else ({}, {})
        for array in job_arrays:
            job = f"ceb-{submission}-{array.name}"
            claims = [
                make_claim(matrix, *statuses[run_id, array.stage], dependable, job, index)
                for run_id, index in zip(array.run_ids, array.indices, strict=True)
            ]
            if array.stage == "train":
                trained_by |= {run_id: (job, i) for run_id, i in zip(array.run_ids, array.indices, strict=True)}
            batch = Batch(
                claims=tuple(claims),
                record=journal.PlannedArray(
                    job=job,
                    stage=array.stage,
                    resources=array.resources,
                    after=[f"ceb-{submission}-{array.after}"] if array.after else [],
                ),
                max_parallel=limits.get(array.name),
                sources=tuple(trained_by[run] for run in sorted(array.sources) if run in trained_by),
                external_dependencies=tuple(queued[run] for run in sorted(array.sources) if run not in trained_by),
                lane=tuple(f"ceb-{submission}-{name}" for name in earlier.get(array.name, ())),
            )
            batches.append(batch)
        return batches

    def send(
        self, home: Home, snapshot: Snapshot, submission: str, batch: Batch, results: Sequence[BatchResult]
    ) -> BatchResult:
        assert batch.record
        ids = {launched.job: launched.executor_id for result in results for launched in result.launched}
        accepted = {(claim.job, claim.index) for result in results for claim in result.claims}
        claims = batch.claims
        rejection = ""
        for job in batch.record.after:
            claims = tuple(claim for claim in claims if (job, claim.index) in accepted)
            rejection = "the training it waits for was not accepted"
        if not claims:
            raise UnreachableError(batch.record.job, rejection)
        if self.unanswered.intersection(batch.lane):
            raise UnreachableError(batch.record.job, "an array that may have been accepted has to end before it")
        dependencies = [f"aftercorr:{ids[job]}" for job in batch.record.after]
        dependencies += [f"afterany:{ids[job]}_{index}" for job, index in batch.sources if (job, index) in accepted]
        dependencies += [f"afterany:{element}" for element in batch.external_dependencies]
        # All arrays of the lane, not only the last: an array whose training failed ends at once, whatever still runs
        # before it.
        dependencies += [f"afterany:{ids[job]}" for job in batch.lane if job in ids]
        while True:
            array = sbatch.ArrayRequest(
                name=batch.record.job,
                resources=batch.record.resources,
                indices=[claim.index or 0 for claim in claims],
                max_parallel=batch.max_parallel,
                dependencies=dependencies,
                exclude_nodes=self.exclude_nodes,
            )
            try:
                launched = sbatch.submit_array(home, snapshot, submission, array)
                return BatchResult((launched,), claims, rejection)
            except client.NoAnswerError:
                self.unanswered.add(batch.record.job)
                raise
            except sbatch.TooManyJobsError as error:
                if len(claims) == 1:
                    raise
                # The limit on jobs is not known beforehand; the claims left out are for a later `submit`.
                claims, rejection = claims[: len(claims) // 2], str(error)

    def is_outcome_unknown(self, error: CebctlError) -> bool:
        return isinstance(error, client.NoAnswerError)


def _limits(job_arrays: Sequence[JobArray], slots: int) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Return for each array that has to be limited, by name, how many of its elements may run at once, and the arrays
    that must have ended before."""
    lanes = [lane for lane in divide_into_lanes(job_arrays, slots) if lane.slots]
    limits = {name: lane.slots for lane in lanes for name in lane.names if lane.slots}
    return limits, {name: lane.names[:number] for lane in lanes for number, name in enumerate(lane.names)}


def _sources(stage: StageStatus, dependable: Collection[str], queued: Collection[str]) -> frozenset[str]:
    """Return the runs whose end a stage waits for: those that its benchmarks need, and its parent if that is `queued`
    by another submission. A parent in the same submission is paired with it by `make_arrays`."""
    needed = {b.source for b in stage.blocked_benchmarks if isinstance(b, Transfer)}
    return frozenset(needed.intersection(dependable) | {stage.untrained_parent}.intersection(queued))


def _queued_trainings(observations: Observations) -> dict[str, str]:
    """Return the runs that an element of an earlier array trains, with Slurm's id of that element."""
    elements = {}
    for (run_id, stage), claims in observations.claims.items():
        for row in claims if stage == "train" else ():
            ids = [worker.executor_id for worker in row.workers if worker.job == row.job]
            if ids and observations.is_claim_alive(row, observations.jobs.get((run_id, stage))):
                elements[run_id] = f"{ids[-1]}_{row.array_index}"
    return elements
