"""The job arrays that a submission consists of: one per distinct resource set, evaluations behind their training.

`aftercorr` lets element i of an array start when element i of the other has succeeded, so an evaluation has the index
that its training has. Those whose benchmarks need other runs of the submission (transfer) are in arrays of their own,
which wait for those runs' training to end as well.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.matrix import Matrix, PlannedRun
from experiments.resources import Resources, Stage


@dataclass
class Array:
    """One array of jobs, a job for each run."""

    name: str
    stage: Stage
    resources: Resources
    after: str | None = None
    """The train array that each element waits for the element of (aftercorr)."""
    run_ids: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    """Of its elements in the order of `run_ids`, ascending."""
    sources: frozenset[str] = frozenset()
    """The runs whose training every element waits for the end of."""


@dataclass(frozen=True)
class Job:
    """One job to be scheduled."""

    run_id: str
    stage: str
    hours: float
    gpus: int


Due = Sequence[tuple[PlannedRun, Stage, frozenset[str]]]
"""Stages of runs, each with the runs whose training it needs besides its own."""


def arrays(matrix: Matrix, due: Due, largest: int | None = None) -> list[Array]:
    """The arrays for these stages of runs, in their order, of at most `largest` elements each (MaxArraySize, which
    caps the index)."""
    found: list[Array] = []
    open_arrays: dict[tuple[Stage, int, str | None, frozenset[str]], Array] = {}  # equal resources are one object
    trained_in: dict[str, tuple[str, int]] = {}
    stages: tuple[Stage, ...] = ("train", "evaluate")
    for stage in stages:
        for run, sources in ((run, sources) for run, claimed, sources in due if claimed == stage):
            after, at = trained_in.get(run.run_id, (None, None)) if stage == "evaluate" else (None, None)
            resources = matrix.resources(run, stage)
            key = (stage, id(resources), after, sources)
            array = open_arrays.get(key)
            if array is None or (after is None and largest and len(array.run_ids) == largest):
                number = 1 + sum(other.stage == stage for other in found)
                array = open_arrays[key] = Array(f"{stage}-{number}", stage, resources, after, sources=sources)
                found.append(array)
            index = len(array.run_ids) if at is None else at
            array.run_ids.append(run.run_id)
            array.indices.append(index)
            if stage == "train":
                trained_in[run.run_id] = (array.name, index)
    return found


def wall_hours(jobs: Sequence[Job], gpus: int) -> float:
    """How long the jobs take on this many GPUs (or CPU cores): the longest first, evaluations behind their
    training, no waiting for others in the queue. A job that asks for more takes all there are, for longer."""
    waiting: Mapping[str, Job] = {job.run_id: job for job in jobs if job.stage == "evaluate"}
    trained = {job.run_id for job in jobs if job.stage == "train"}
    ready = [(-job.hours, i, job) for i, job in enumerate(jobs) if job.stage == "train" or job.run_id not in trained]
    heapq.heapify(ready)
    running: list[tuple[float, int, int, Job]] = []
    now, free, order = 0.0, gpus, len(jobs)
    while ready or running:
        while ready and min(max(ready[0][2].gpus, 1), gpus) <= free:
            _, _, job = heapq.heappop(ready)
            asked = max(job.gpus, 1)
            given = min(asked, gpus)
            free -= given
            order += 1
            heapq.heappush(running, (now + job.hours * asked / given, order, given, job))
        now, _, given, job = heapq.heappop(running)
        free += given
        if job.stage == "train" and job.run_id in waiting:
            order += 1
            heapq.heappush(ready, (-waiting[job.run_id].hours, order, waiting[job.run_id]))
    return now
