"""The job arrays of a submission: one for each distinct set of resources, evaluations behind their training, and runs
behind those that they extend.

`aftercorr` starts element i of an array when element i of the other has succeeded. So an evaluation has the index of
its training, and a run that of the run it extends. Runs whose benchmarks need other runs of the submission (transfer)
are in arrays of their own, which wait for the end of those runs' training as well.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments import lineage
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import STAGES, Resources, Stage


@dataclass
class JobArray:
    """One array of jobs, a job for each run."""

    name: str
    stage: Stage
    resources: Resources
    after: str | None = None
    """The train array whose elements this array's elements wait for, each for its own (aftercorr)."""
    run_ids: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    """The indices of its elements in the order of `run_ids`, ascending."""
    sources: frozenset[str] = frozenset()
    """The runs for the end of whose training every element waits."""


@dataclass(frozen=True)
class ScheduledJob:
    """One job to be scheduled."""

    run_id: str
    stage: Stage
    hours: float
    gpus: int
    extends: str = ""
    """For train: the run that it extends."""

    @property
    def required_run_id(self) -> str:
        """The run whose training it waits for."""
        return self.run_id if self.stage == "evaluate" else self.extends


ArrayStages = Sequence[tuple[PlannedRun, Stage, frozenset[str]]]
"""Stages of runs, each with the runs whose training it needs besides its own."""


def make_arrays(matrix: Matrix, stages: ArrayStages, max_elements: int | None = None) -> list[JobArray]:
    """Return the arrays for these stages of runs, in their order, of at most `max_elements` elements each
    (MaxArraySize, which caps the index)."""
    job_arrays: list[JobArray] = []
    # By the identity of the resources: the matrix hands out one object for equal ones.
    open_arrays: dict[tuple[Stage, int, str | None, frozenset[str], int], JobArray] = {}
    trained_in: dict[str, tuple[str, int]] = {}
    followers: Counter[tuple[Stage, str]] = Counter()
    shortest_first = sorted(stages, key=lambda row: len(row[0].run.extends or ()))
    for stage in STAGES:
        for run, sources in ((run, sources) for run, claimed, sources in shortest_first if claimed == stage):
            required = run.run_id if stage == "evaluate" else lineage.parent_id(run.run) or ""
            after, required_index = trained_in.get(required, (None, None))
            # Several runs may extend the same one, and an array has its index once.
            sibling = followers[stage, required] if after else 0
            followers[stage, required] += 1
            resources = matrix.resources(run, stage)
            key = (stage, id(resources), after, sources, sibling)
            array = open_arrays.get(key)
            if array is None or (after is None and max_elements and len(array.run_ids) == max_elements):
                number = 1 + sum(other.stage == stage for other in job_arrays)
                array = open_arrays[key] = JobArray(f"{stage}-{number}", stage, resources, after, sources=sources)
                job_arrays.append(array)
            index = len(array.run_ids) if required_index is None else required_index
            array.run_ids.append(run.run_id)
            array.indices.append(index)
            if stage == "train":
                trained_in[run.run_id] = (array.name, index)
    for array in (array for array in job_arrays if array.after):
        pairs = sorted(zip(array.indices, array.run_ids, strict=True))
        array.indices, array.run_ids = [index for index, _ in pairs], [run_id for _, run_id in pairs]
    return job_arrays


@dataclass(frozen=True)
class Lane:
    """Arrays that run one after another, and how many elements of each run at once."""

    names: tuple[str, ...]
    """In the order in which they are sent."""
    slots: int | None
    """None: as many as the cluster allows; the arrays need not wait for each other either."""


def divide_into_lanes(job_arrays: Sequence[JobArray], slots: int) -> list[Lane]:
    """Divide arrays into lanes side by side, so that at most `slots` elements run at any time over all of them.

    Slurm's own limit (`--array=0-9%4`) holds for one array. So arrays that run at once share the slots, and the others
    wait until one of them has ended. An array is in one lane with those that follow it element by element. The number
    of lanes is that which needs the fewest rounds, each element counted as one.
    """
    root: dict[str, str] = {}
    groups: dict[str, list[JobArray]] = defaultdict(list)
    for array in job_arrays:
        root[array.name] = root[array.after] if array.after else array.name
        groups[root[array.name]].append(array)
    slots = min(slots, len({run_id for array in job_arrays for run_id in array.run_ids}))
    divisions = (_division(list(groups.values()), slots, count) for count in range(1, min(slots, len(groups)) + 1))
    best = min(divisions, key=lambda division: max(_rounds(arrays, width) for arrays, width in division))
    order = {array.name: number for number, array in enumerate(job_arrays)}
    return [_lane(sorted(arrays, key=lambda array: order[array.name]), width) for arrays, width in best]


_Division = list[tuple[list[JobArray], int]]
"""Arrays for each lane, and its slots."""


def _division(groups: Sequence[list[JobArray]], slots: int, count: int) -> _Division:
    """Return the groups divided into `count` lanes: the largest first, each to the lane with the fewest elements, and
    then each further slot to the lane that takes longest."""
    divided: list[list[JobArray]] = [[] for _ in range(count)]
    shortest = [(0, number) for number in range(count)]
    for group in sorted(groups, key=_elements, reverse=True):
        elements, number = shortest[0]
        heapq.heapreplace(shortest, (elements + _elements(group), number))
        divided[number] += group
    waiting = [(-_rounds(arrays, 1), number, 1) for number, arrays in enumerate(divided)]
    heapq.heapify(waiting)
    for _ in range(slots - count):
        _, number, width = waiting[0]
        heapq.heapreplace(waiting, (-_rounds(divided[number], width + 1), number, width + 1))
    return [(divided[number], width) for _, number, width in waiting]


def _elements(arrays: Sequence[JobArray]) -> int:
    return sum(len(array.run_ids) for array in arrays)


def _rounds(arrays: Sequence[JobArray], width: int) -> int:
    return sum(-(-len(array.run_ids) // width) for array in arrays)


def _lane(arrays: Sequence[JobArray], width: int) -> Lane:
    # The stages of one run follow each other anyway: with a slot for each run there is nothing to limit.
    runs = {run_id for array in arrays for run_id in array.run_ids}
    return Lane(tuple(array.name for array in arrays), width if width < len(runs) else None)


def wall_hours(jobs: Sequence[ScheduledJob], gpus: int) -> float:
    """Return how long the jobs take on this many GPUs (or CPU cores): training before evaluations and the longest
    first, each behind the training that it needs, without other users in the queue. A job that asks for more GPUs
    takes all there are, for longer."""
    trained = {job.run_id for job in jobs if job.stage == "train"}
    waiting: dict[str, list[ScheduledJob]] = defaultdict(list)
    for job in jobs:
        waiting[job.required_run_id if job.required_run_id in trained else ""].append(job)
    numbers = itertools.count()
    ready = [(job.stage == "evaluate", -job.hours, next(numbers), job) for job in waiting[""]]
    heapq.heapify(ready)
    running: list[tuple[float, int, int, ScheduledJob]] = []
    now, free = 0.0, gpus
    while ready or running:
        while ready and min(max(ready[0][-1].gpus, 1), gpus) <= free:
            *_, job = heapq.heappop(ready)
            requested = max(job.gpus, 1)
            granted = min(requested, gpus)
            free -= granted
            heapq.heappush(running, (now + job.hours * requested / granted, next(numbers), granted, job))
        now, _, granted, job = heapq.heappop(running)
        free += granted
        for follower in waiting[job.run_id] if job.stage == "train" else ():
            heapq.heappush(ready, (follower.stage == "evaluate", -follower.hours, next(numbers), follower))
    return now
