"""What `submit` would do and what it costs, found by looking alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from cebctl.planning import cost_estimates
from cebctl.planning.cost_estimates import Basis, Estimate
from cebctl.planning.matrix_diff import MatrixDiff, diff_matrix
from cebctl.status.families import family_axes
from cebctl.status.matrix_status import MatrixStatus, collect_matrix_status
from cebctl.status.rerun import Rerun
from cebctl.status.states import (
    RunStage,
    RunStatus,
    StageStatus,
    State,
    count_states,
    runs_in_training,
    runs_with_pending_training,
)
from cebctl.submission.job_arrays import JobArray, ScheduledJob, make_arrays, wall_hours
from cebctl.submission.parents import missing_parents
from cebctl.submission.submit import pending_stages
from experiments import costs, jump_start_checks
from experiments.benchmarks import NOT_RUNNABLE, describe, is_runnable
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import checkpoint_files
from jobs.paths import Home
from store.connect import Store
from store.read_only import read_only

DEFAULT_GPUS = 8
"""At once, where nobody says how many there are and no job needs more."""


@dataclass(frozen=True)
class Family:
    """The runs of one objective on one network and one data set, and what they cost together."""

    axes: dict[str, Any]
    """The fields that tell it from the matrix's other families."""
    runs: tuple[RunStatus, ...]
    estimates: tuple[Estimate, ...]

    @property
    def hours(self) -> float:
        return sum(estimate.hours for estimate in self.estimates)

    @property
    def bases(self) -> set[Basis]:
        return {estimate.basis for estimate in self.estimates}

    @property
    def varied_axes(self) -> dict[str, list[Any]]:
        """The values that each other axis takes within the family."""
        found: dict[str, dict[Any, None]] = {}
        for run in self.runs:
            for key, value in run.planned.axes.items():
                if key not in self.axes:
                    found.setdefault(key, {})[value] = None
        return {key: list(values) for key, values in found.items()}


@dataclass(frozen=True)
class Plan:
    """A matrix, what is there, what would be submitted, and what it costs."""

    matrix: Matrix
    runs: tuple[RunStatus, ...]
    estimates: tuple[Estimate, ...]
    """Of the whole of each run, done or not."""
    pending: tuple[tuple[RunStatus, StageStatus], ...]
    """The stages that would be submitted, at once or, where they wait for another run and the executor can't have them
    do so, later."""
    gpus: int
    """At once, for the wall-clock time; CPU cores if no run asks for a GPU."""
    changes: MatrixDiff | None = None
    missing_parents: tuple[str, ...] = ()
    """What is wrong with runs that extend one which nobody will train."""
    remaining: Mapping[RunStage, float] = field(default_factory=dict)
    """The share that is left, in [0, 1], of each stage in `due`: behind its checkpoint, or of its benchmarks."""
    again: Rerun | None = None
    """What is to be done although it is done, and nothing else."""

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """In the order of the matrix."""
        paths = family_axes(run.planned for run in self.runs)
        grouped: dict[tuple[Any, ...], tuple[list[RunStatus], list[Estimate]]] = {}
        for run, estimate in zip(self.runs, self.estimates, strict=True):
            axes = run.planned.axes
            members = grouped.setdefault(tuple([axes.get(key) for key in paths]), ([], []))
            members[0].append(run)
            members[1].append(estimate)
        return tuple(
            Family({k: runs[0].planned.axes[k] for k in paths if k in runs[0].planned.axes}, tuple(runs), tuple(found))
            for runs, found in grouped.values()
        )

    @cached_property
    def job_arrays(self) -> list[JobArray]:
        return make_arrays(self.matrix, [(run.planned, stage.stage, frozenset()) for run, stage in self.pending])

    @cached_property
    def ineffective_settings(self) -> dict[str, list[PlannedRun]]:
        """What is set and never takes effect in the runs that are still to be trained."""
        return jump_start_checks.runs_by_ineffective_setting(
            [run.planned for run in self.runs if run.stages[0].state != "done"]
        )

    @property
    def uses_gpus(self) -> bool:
        return any(estimate.gpu for estimate in self.estimates)

    @property
    def state_counts(self) -> dict[State, int]:
        return count_states(self.runs)

    @property
    def hours(self) -> float:
        """Of everything, whether done or not."""
        return sum(estimate.hours for estimate in self.estimates)

    @cached_property
    def pending_jobs(self) -> list[ScheduledJob]:
        """The jobs that would be submitted."""
        by_run = {run.planned.run_id: estimate for run, estimate in zip(self.runs, self.estimates, strict=True)}
        extended = {run.planned.run_id: run.stages[0].untrained_parent for run in self.runs}
        return [
            ScheduledJob(
                run_id, array.stage, hours * self.remaining.get((run_id, array.stage), 1.0), gpus, extended[run_id]
            )
            for array in self.job_arrays
            for gpus in [array.resources.gpus]
            for run_id in array.run_ids
            for hours in [_hours(by_run[run_id], array.stage, gpus)]
        ]

    @property
    def hours_to_do(self) -> float:
        return sum(job.hours * max(job.gpus, 1) for job in self.pending_jobs)

    @cached_property
    def wall_hours(self) -> float:
        """How long what would be submitted takes on `gpus`."""
        return wall_hours(self.pending_jobs, self.gpus)

    @property
    def longest_run(self) -> tuple[str, float]:
        """The run that takes longest of what would be submitted, and its hours."""
        hours: Counter[str] = Counter()
        for job in self.pending_jobs:
            hours[job.run_id] += job.hours * max(job.gpus / self.gpus, 1)  # type: ignore[assignment]
        run_id, taken = hours.most_common(1)[0]
        return next(run.planned.name for run in self.runs if run.planned.run_id == run_id), taken

    @property
    def resumed_runs(self) -> list[str]:
        """The names of the runs that go on from a checkpoint."""
        return [
            run.planned.name
            for run, stage in self.pending
            if stage.stage == "train" and self.remaining.get((run.planned.run_id, "train"), 1.0) < 1.0
        ]

    @property
    def disk_bytes(self) -> int:
        """One checkpoint for each run; while a run trains it keeps two."""
        return sum(estimate.checkpoint_bytes for estimate in self.estimates)

    @property
    def unavailable_benchmarks(self) -> list[str]:
        """The benchmarks that this version can't run."""
        return [describe(benchmark) for benchmark in self.matrix.benchmarks if not is_runnable(benchmark)]

    def to_json(self) -> dict[str, Any]:
        """DESIGN's contract of `plan --json`; what goes beyond it may grow."""
        found: dict[str, Any] = {
            "matrix": self.matrix.name,
            "runs": list(self._runs_json()),
            "arrays": [
                {
                    "name": array.name,
                    "stage": array.stage,
                    "runs": len(array.run_ids),
                    "after": array.after,
                    "resources": msgspec.to_builtins(array.resources),
                }
                for array in self.job_arrays
            ],
            "benchmarks": [
                {"benchmark": msgspec.to_builtins(b)} | ({} if is_runnable(b) else {"unavailable": NOT_RUNNABLE})
                for b in self.matrix.benchmarks
            ],
            "totals": {
                "runs": len(self.runs),
                **self.state_counts,
                "submitted": len(self.pending),
                "gpu_hours": self.hours,
                "gpu_hours_to_do": self.hours_to_do,
                "gpu_hours_basis": {
                    basis: sum(estimate.basis == basis for estimate in self.estimates)
                    for basis in ("measured", "counted")
                },
                "gpus": self.gpus,
                "device": "gpu" if self.uses_gpus else "cpu",
                "wall_hours": self.wall_hours,
                "disk_bytes": self.disk_bytes,
            },
        }
        found["warnings"] = [
            {"text": text, "run_ids": [run.run_id for run in runs]} for text, runs in self.ineffective_settings.items()
        ]
        if self.changes:
            found["changes"] = self.changes.to_json()
        if self.again:
            benchmarks = [b for b in self.matrix.benchmarks if b in self.again.benchmarks]
            found["again"] = {"train": self.again.train, "benchmarks": msgspec.to_builtins(benchmarks)}
        return found

    def _runs_json(self) -> Iterator[dict[str, Any]]:
        to_do: Counter[str] = Counter()
        for job in self.pending_jobs:
            to_do[job.run_id] += job.hours * max(job.gpus, 1)  # type: ignore[assignment]
        for run, estimate in zip(self.runs, self.estimates, strict=True):
            yield {
                "run_id": run.planned.run_id,
                "name": run.planned.name,
                "spec": msgspec.to_builtins(run.planned.run),
                "state": run.state,
                "stages": [
                    {"stage": stage.stage, "state": stage.state, "generation": stage.generation} for stage in run.stages
                ],
                "gpu_hours": estimate.hours,
                "gpu_hours_to_do": float(to_do[run.planned.run_id]),
                "gpu_hours_basis": estimate.basis,
                "gpu": estimate.gpu,
                "gpus": estimate.gpus,
                "memory_gib": estimate.memory_gib,
                "fits": estimate.fits,
                "checkpoint_bytes": estimate.checkpoint_bytes,
            }


def make_plan(
    matrix: Matrix,
    home: Home,
    *,
    retry_failed: bool = False,
    gpu: str | None = None,
    gpus: int | None = None,
    diff: bool = False,
    again: Rerun | None = None,
) -> Plan:
    """Look, and change nothing. `gpu` names the kind and `gpus` the number there are; without, what the matrix asks
    for, and what its largest job needs but at least `DEFAULT_GPUS`."""
    with read_only(home) as store:
        status = collect_matrix_status(matrix, store, home, fresh=False, again=again)
        return plan_from_status(
            matrix, status, store, home, retry_failed=retry_failed, gpu=gpu, gpus=gpus, diff=diff, again=again
        )


def plan_from_status(
    matrix: Matrix,
    status: MatrixStatus,
    store: Store,
    home: Home,
    *,
    retry_failed: bool = False,
    gpu: str | None = None,
    gpus: int | None = None,
    diff: bool = False,
    again: Rerun | None = None,
) -> Plan:
    """Return the plan that follows from a status that was collected with the same `again`; as `make_plan` does."""
    runs = status.runs
    behind = runs_with_pending_training(runs, runs_in_training(status.observations), retry_failed=retry_failed)
    offered = pending_stages(runs, retry_failed=retry_failed, dependable=behind, again=again)
    estimates = cost_estimates.estimate_costs(matrix, store, home, gpu)
    alone = missing_parents(matrix, runs, store)
    changed = diff_matrix(matrix, runs, store) if diff else None
    largest = max(estimate.gpus for estimate in estimates)
    number = gpus or (max(largest, DEFAULT_GPUS) if largest else len(os.sched_getaffinity(0)))
    left = {(run.planned.run_id, stage.stage): _left(run, stage, home) for run, stage in offered}
    return Plan(matrix, tuple(runs), tuple(estimates), tuple(offered), number, changed, tuple(alone), left, again)


def _left(run: RunStatus, stage: StageStatus, home: Home) -> float:
    """Return the share of a stage that is still to be done: what lies behind the newest checkpoint, as it stands on
    the disk, or the benchmarks that have no result."""
    planned = run.planned
    if stage.stage == "train":
        newest = next(checkpoint_files.newest_first(home.run(planned.run_id, stage.generation).checkpoints), None)
        return costs.training_left(planned.run, newest.step) if newest else 1.0
    passes = costs.evaluation_passes(planned.run, filter(is_runnable, planned.benchmarks))
    return costs.evaluation_passes(planned.run, stage.missing) / passes if passes else 1.0


def _hours(estimate: Estimate, stage: str, gpus: int) -> float:
    """How long one job takes on what it asks for."""
    return (estimate.train_hours if stage == "train" else estimate.evaluate_hours) / max(gpus, 1)
