"""Where claims go: to workers on this machine, or to arrays on a Slurm cluster. Both are sent in orders.

An order is sent whole or not at all; what is claimed by one that is not sent is given back by `submit`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from cebctl.status.states import Observations, RunStatus, StageStatus, runs_with_pending_training
from cebctl.submission import job_arrays as arrays
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError, UnreachableError
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal import records as journal
from jobs.journal.records import Claim, Launched
from jobs.local import launch
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import client, sbatch

Offered = Sequence[tuple[RunStatus, StageStatus]]


@dataclass(frozen=True)
class Order:
    """What is sent at once: claims and, on a cluster, the array whose elements they are."""

    claims: tuple[Claim, ...]
    record: journal.PlannedArray | None = None
    at_once: int | None = None
    """How many of the elements may run at a time."""
    sources: tuple[tuple[str, int], ...] = ()
    """Elements of the submission's own arrays whose end it waits for."""
    others: tuple[str, ...] = ()
    """Elements of other submissions' arrays, by Slurm's ids, whose end it waits for."""
    lane: tuple[str, ...] = ()
    """The submission's own arrays before it whose end it waits for, so that not too many jobs run at once."""

    @property
    def records(self) -> tuple[journal.AnyRecord, ...]:
        return ((self.record,) if self.record else ()) + self.claims


@dataclass(frozen=True)
class Sent:
    """What the executor took of an order."""

    launched: tuple[Launched, ...]
    claims: tuple[Claim, ...]
    why_not: str = ""
    """Why it did not take the others."""


class Sender(Protocol):
    """An executor, as `submit` uses it."""

    @property
    def executor(self) -> str:
        """Its name in the journal."""

    @property
    def at_once(self) -> int | None:
        """How many jobs of a submission may run at a time; None where nothing limits them."""

    def behind(self, runs: Sequence[RunStatus], known: Observations, *, retry_failed: bool) -> Collection[str]:
        """The runs that others, or their benchmarks, can wait for, because their training is under way or will be."""

    def orders(self, name: str, matrix: Matrix, offered: Offered, known: Observations) -> list[Order]:
        """The orders of a submission of this name, in the order of their sending."""

    def send(self, home: Home, snapshot: Snapshot, name: str, order: Order, sent: Sequence[Sent]) -> Sent:
        """Send one, behind those `sent`. Raises CebctlError if nothing of it is taken."""

    def may_come_yet(self, error: CebctlError) -> bool:
        """Whether an order that met this error may be under way all the same."""


def claim(
    matrix: Matrix,
    planned: PlannedRun,
    stage: StageStatus,
    behind: Collection[str] = (),
    job: str | None = None,
    index: int | None = None,
) -> Claim:
    """The claim on a stage: on all of its benchmarks but those that wait for a run which is not in `behind`.

    On a cluster an array, `job`, and the `index` of one of its elements take it.
    """
    waiting = [b for b in stage.blocked_benchmarks if getattr(b, "source", None) not in behind]
    return Claim(
        run_id=planned.run_id,
        label=planned.name,
        stage=stage.stage,
        spec=msgspec.to_builtins(planned.run),
        benchmarks=[benchmark for benchmark in stage.missing if benchmark not in waiting],
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
    at_once: int | None = None
    executor: str = "local"

    def behind(self, runs: Sequence[RunStatus], known: Observations, *, retry_failed: bool) -> Collection[str]:
        return ()

    def orders(self, name: str, matrix: Matrix, offered: Offered, known: Observations) -> list[Order]:
        return [Order(tuple(claim(matrix, run.planned, stage) for run, stage in offered))]

    def send(self, home: Home, snapshot: Snapshot, name: str, order: Order, sent: Sequence[Sent]) -> Sent:
        count = self.workers or min(len(os.sched_getaffinity(0)), len({one.run_id for one in order.claims}))
        count = min(count, self.at_once or count)
        return Sent(tuple(launch.launch_local(home, snapshot, name, count)), order.claims)

    def may_come_yet(self, error: CebctlError) -> bool:
        return False


@dataclass(frozen=True)
class Slurm:
    """Arrays, an element for each claim."""

    array_size: int
    """One more than the largest index of an array on this cluster."""
    at_once: int | None = None
    """How many elements may run at a time, over all arrays: see `arrays.lanes`."""
    avoid: tuple[str, ...] = ()
    """Nodes that are not to be used."""
    executor: str = "slurm"
    unanswered: set[str] = field(default_factory=set, compare=False)
    """The arrays that may have been accepted, though nobody said so."""

    def behind(self, runs: Sequence[RunStatus], known: Observations, *, retry_failed: bool) -> Collection[str]:
        return runs_with_pending_training(runs, _in_queue(known), retry_failed=retry_failed)

    def orders(self, name: str, matrix: Matrix, offered: Offered, known: Observations) -> list[Order]:
        queued = _in_queue(known)
        ahead = {run.planned.run_id for run, stage in offered if stage.stage == "train"} | set(queued)
        stages = {(run.planned.run_id, stage.stage): (run.planned, stage) for run, stage in offered}
        due = [(run.planned, stage.stage, _sources(stage, ahead, queued)) for run, stage in offered]
        trained_by: dict[str, tuple[str, int]] = {}
        orders = []
        job_arrays = arrays.arrays(matrix, due, self.array_size)
        at_once, ahead_of = _limits(job_arrays, self.at_once) if self.at_once else ({}, {})
        for array in job_arrays:
            job = f"ceb-{name}-{array.name}"
            claims = [
                claim(matrix, *stages[run_id, array.stage], ahead, job, index)
                for run_id, index in zip(array.run_ids, array.indices, strict=True)
            ]
            if array.stage == "train":
                trained_by |= {run_id: (job, i) for run_id, i in zip(array.run_ids, array.indices, strict=True)}
            order = Order(
                claims=tuple(claims),
                record=journal.PlannedArray(
                    job=job,
                    stage=array.stage,
                    resources=array.resources,
                    after=[f"ceb-{name}-{array.after}"] if array.after else [],
                ),
                at_once=at_once.get(array.name),
                sources=tuple(trained_by[run] for run in sorted(array.sources) if run in trained_by),
                others=tuple(queued[run] for run in sorted(array.sources) if run not in trained_by),
                lane=tuple(f"ceb-{name}-{other}" for other in ahead_of.get(array.name, ())),
            )
            orders.append(order)
        return orders

    def send(self, home: Home, snapshot: Snapshot, name: str, order: Order, sent: Sequence[Sent]) -> Sent:
        assert order.record
        ids = {launched.job: launched.executor_id for one in sent for launched in one.launched}
        there = {(claim.job, claim.index) for one in sent for claim in one.claims}
        claims = order.claims
        why_not = ""
        for job in order.record.after:
            claims = tuple(claim for claim in claims if (job, claim.index) in there)
            why_not = "the training it waits for was not accepted"
        if not claims:
            raise UnreachableError(order.record.job, why_not)
        if self.unanswered.intersection(order.lane):
            raise UnreachableError(order.record.job, "one that may have been accepted has to end before it")
        after = [f"aftercorr:{ids[job]}" for job in order.record.after]
        after += [f"afterany:{ids[job]}_{index}" for job, index in order.sources if (job, index) in there]
        after += [f"afterany:{element}" for element in order.others]
        # All of them: one whose training failed ends at once, whatever still runs before it.
        after += [f"afterany:{ids[job]}" for job in order.lane if job in ids]
        while True:
            try:
                launched = sbatch.submit_array(home, snapshot, name, self._array(order, claims, after))
                return Sent((launched,), claims, why_not)
            except client.NoAnswerError:
                self.unanswered.add(order.record.job)
                raise
            except sbatch.TooManyJobsError as error:
                if len(claims) == 1:
                    raise
                claims, why_not = claims[: len(claims) // 2], str(error)

    def _array(self, order: Order, claims: Sequence[Claim], after: Sequence[str]) -> sbatch.ArrayRequest:
        assert order.record
        return sbatch.ArrayRequest(
            name=order.record.job,
            resources=order.record.resources,
            indices=[claim.index or 0 for claim in claims],
            max_parallel=order.at_once,
            dependencies=after,
            exclude_nodes=self.avoid,
        )

    def may_come_yet(self, error: CebctlError) -> bool:
        return isinstance(error, client.NoAnswerError)


def _limits(job_arrays: Sequence[arrays.Array], slots: int) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Return for each array that has to be limited, by name, how many of its elements may run at once, and the arrays
    that must have ended before."""
    lanes = [lane for lane in arrays.lanes(job_arrays, slots) if lane.slots]
    at_once = {name: lane.slots for lane in lanes for name in lane.names if lane.slots}
    return at_once, {name: lane.names[:number] for lane in lanes for number, name in enumerate(lane.names)}


def _sources(stage: StageStatus, ahead: Collection[str], queued: Collection[str]) -> frozenset[str]:
    """The runs whose end a stage waits for: those `ahead` of it that its benchmarks need; the one that it extends is
    among them if it is `queued` already, and else in the same submission, where `arrays` pairs the two."""
    needed = {b.source for b in stage.blocked_benchmarks if isinstance(b, Transfer)}
    return frozenset(needed.intersection(ahead) | {stage.parent_run_id}.intersection(queued))


def _in_queue(known: Observations) -> dict[str, str]:
    """The runs that an element of an earlier array trains, by Slurm's id of it."""
    found = {}
    for (run_id, stage), claims in known.claims.items():
        for row in claims if stage == "train" else ():
            ids = [worker.executor_id for worker in row.workers if worker.job == row.job]
            if ids and known.is_claim_alive(row, known.jobs.get((run_id, stage))):
                found[run_id] = f"{ids[-1]}_{row.array_index}"
    return found
