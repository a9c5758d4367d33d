"""The job arrays that a submission consists of: one per distinct resource set, evaluations behind their training.

`aftercorr` lets element i of an array start when element i of the other has succeeded, so the evaluations that wait
for a training are in an array of the same runs in the same order as its training's.
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


@dataclass(frozen=True)
class Job:
    """One job to be scheduled."""

    run_id: str
    stage: str
    hours: float
    gpus: int


def arrays(matrix: Matrix, due: Sequence[tuple[PlannedRun, str]]) -> list[Array]:
    """The arrays for these stages of runs, in their order."""
    found: dict[tuple[Stage, int, str | None], Array] = {}  # equal resources are one object
    trained_in: dict[str, str] = {}
    stages: tuple[Stage, ...] = ("train", "evaluate")
    for stage in stages:
        for run in (run for run, claimed in due if claimed == stage):
            resources, after = matrix.resources(run, stage), trained_in.get(run.run_id)
            key = (stage, id(resources), after)
            if key not in found:
                number = 1 + sum(array.stage == stage for array in found.values())
                found[key] = Array(f"{stage}-{number}", stage, resources, after)
            found[key].run_ids.append(run.run_id)
            if stage == "train":
                trained_in[run.run_id] = found[key].name
    return list(found.values())


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
