"""Plan a submission: the jobs that `submit` would send and their cost. Changes nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import msgspec

from cebctl.planning import cost_estimates
from cebctl.planning.cost_estimates import Basis, Estimate
from cebctl.planning.matrix_code import MatrixCode, matrix_code
from cebctl.planning.matrix_diff import MatrixDiff, diff_matrix
from cebctl.planning.weights_fit import missing_weights
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
from cebctl.submission.needed_data import NeededData, benchmark_data, training_data
from cebctl.submission.parents import missing_parents
from cebctl.submission.prerequisites import check_batch_norm
from cebctl.submission.submit import pending_stages
from experiments import costs, jump_start_checks
from experiments.benchmarks import NOT_RUNNABLE, describe, is_runnable
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import checkpoint_files
from jobs.paths import Home, data_folder
from store.connect import Store
from store.read_only import read_only

DEFAULT_GPUS = 8
"""How many GPUs a plan assumes, unless the user says how many there are or a job needs more."""


@dataclass(frozen=True)
class Family:
    """The runs of one objective on one network and one data set, and their cost."""

    axes: dict[str, Any]
    """The fields in which it differs from the matrix's other families."""
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
        axes: dict[str, dict[Any, None]] = {}
        for run in self.runs:
            for key, value in run.planned.axes.items():
                if key not in self.axes:
                    axes.setdefault(key, {})[value] = None
        return {key: list(values) for key, values in axes.items()}


@dataclass(frozen=True)
class Plan:
    """A matrix, the states of its runs, the stages that would be submitted, and their cost."""

    matrix: Matrix
    runs: tuple[RunStatus, ...]
    estimates: tuple[Estimate, ...]
    """The cost of each whole run, done or not."""
    pending: tuple[tuple[RunStatus, StageStatus], ...]
    """The stages that would be submitted, at once or, where they wait for another run and the executor can't have them
    do so, later."""
    gpus: int
    """How many the wall-clock time assumes; CPU cores if no run asks for a GPU."""
    changes: MatrixDiff | None = None
    missing_parents: tuple[str, ...] = ()
    """Messages about runs that extend a run which nobody will train."""
    missing_weights: tuple[str, ...] = ()
    """Messages about runs whose imported weights are not here."""
    remaining: Mapping[RunStage, float] = field(default_factory=dict)
    """The share that remains, in [0, 1], of each stage in `pending`: behind its checkpoint, or of its benchmarks."""
    again: Rerun | None = None
    """The selection of stages to be done again; then nothing else is submitted."""
    code: tuple[MatrixCode, ...] = ()
    """Everything that the matrix and the home bring to be run."""
    data: tuple[NeededData, ...] = ()
    """The images that it needs, those of the training first, and whether they are here."""

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """In the order of the matrix."""
        paths = family_axes(self.matrix)
        grouped: dict[tuple[Any, ...], tuple[list[RunStatus], list[Estimate]]] = {}
        for run, estimate in zip(self.runs, self.estimates, strict=True):
            axes = run.planned.axes
            members = grouped.setdefault(tuple([axes.get(key) for key in paths]), ([], []))
            members[0].append(run)
            members[1].append(estimate)
        return tuple(
            Family(
                {k: runs[0].planned.axes[k] for k in paths if k in runs[0].planned.axes}, tuple(runs), tuple(estimates)
            )
            for runs, estimates in grouped.values()
        )

    @cached_property
    def job_arrays(self) -> list[JobArray]:
        return make_arrays(self.matrix, [(run.planned, stage.stage, frozenset()) for run, stage in self.pending])

    @cached_property
    def ineffective_settings(self) -> dict[str, list[PlannedRun]]:
        """The settings that never take effect in the runs that are still to be trained, with those runs."""
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
        """The hours of all runs, done or not."""
        return sum(estimate.hours for estimate in self.estimates)

    @cached_property
    def pending_jobs(self) -> list[ScheduledJob]:
        """The jobs that would be submitted."""
        by_run = {run.planned.run_id: estimate for run, estimate in zip(self.runs, self.estimates, strict=True)}
        parents = {run.planned.run_id: run.stages[0].untrained_parent for run in self.runs}
        return [
            ScheduledJob(
                run_id, array.stage, hours * self.remaining.get((run_id, array.stage), 1.0), gpus, parents[run_id]
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
        """The hours that the pending jobs take on `gpus`."""
        return wall_hours(self.pending_jobs, self.gpus)

    @property
    def longest_run(self) -> tuple[str, float]:
        """The run whose pending jobs take longest, and its hours."""
        hours: Counter[str] = Counter()
        for job in self.pending_jobs:
            hours[job.run_id] += job.hours * max(job.gpus / self.gpus, 1)  # type: ignore[assignment]
        run_id, longest = hours.most_common(1)[0]
        return next(run.planned.name for run in self.runs if run.planned.run_id == run_id), longest

    @property
    def resumed_runs(self) -> list[str]:
        """The names of the runs that resume from a checkpoint."""
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
        """Return the document of `plan --json`."""
        document: dict[str, Any] = {
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
                    basis: sum(estimate.basis == basis for estimate in self.estimates) for basis in get_args(Basis)
                },
                "gpus": self.gpus,
                "device": "gpu" if self.uses_gpus else "cpu",
                "wall_hours": self.wall_hours,
                "disk_bytes": self.disk_bytes,
            },
        }
        document["warnings"] = [
            {"text": text, "run_ids": [run.run_id for run in runs]} for text, runs in self.ineffective_settings.items()
        ]
        document["code"] = msgspec.to_builtins(self.code)
        document["data"] = [needed.to_json() for needed in self.data]
        if self.changes:
            document["changes"] = self.changes.to_json()
        if self.again:
            benchmarks = [b for b in self.matrix.benchmarks if b in self.again.benchmarks]
            document["again"] = {"train": self.again.train, "benchmarks": msgspec.to_builtins(benchmarks)}
        return document

    def _runs_json(self) -> Iterator[dict[str, Any]]:
        hours: Counter[str] = Counter()
        for job in self.pending_jobs:
            hours[job.run_id] += job.hours * max(job.gpus, 1)  # type: ignore[assignment]
        for run, estimate in zip(self.runs, self.estimates, strict=True):
            yield {
                "run_id": run.planned.run_id,
                "name": run.planned.name,
                "spec": msgspec.to_builtins(run.planned.run),
                "state": run.state,
                "stages": [
                    {"stage": stage.stage, "state": stage.state, "generation": stage.generation} for stage in run.stages
                ],
                "gpu_hours": None if estimate.basis == "not counted" else estimate.hours,
                "gpu_hours_to_do": float(hours[run.planned.run_id]),
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
    """Return the plan of a matrix, and change nothing. `gpu` and `gpus` say which GPUs there are and how many; by
    default those that the matrix asks for, and as many as its largest job needs but at least `DEFAULT_GPUS`."""
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
    """Return the plan that follows from a status which was collected with the same `again`: see `make_plan`."""
    runs = status.runs
    dependable = runs_with_pending_training(runs, runs_in_training(status.observations), retry_failed=retry_failed)
    stages = pending_stages(runs, retry_failed=retry_failed, dependable=dependable, again=again)
    check_batch_norm(matrix, stages)
    estimates = cost_estimates.estimate_costs(matrix, store, home, gpu)
    largest = max(estimate.gpus for estimate in estimates)
    return Plan(
        matrix=matrix,
        runs=tuple(runs),
        estimates=tuple(estimates),
        pending=tuple(stages),
        gpus=gpus or (max(largest, DEFAULT_GPUS) if largest else len(os.sched_getaffinity(0))),
        changes=diff_matrix(matrix, runs, store) if diff else None,
        missing_parents=tuple(missing_parents(matrix, runs, store)),
        missing_weights=tuple(missing_weights([run.planned for run, stage in stages if stage.stage == "train"], home)),
        remaining={(run.planned.run_id, stage.stage): _remaining_share(run, stage, home) for run, stage in stages},
        again=again,
        code=tuple(matrix_code(matrix, home)),
        data=(*training_data(matrix, data_folder()), *benchmark_data(matrix, data_folder())),
    )


def _remaining_share(run: RunStatus, stage: StageStatus, home: Home) -> float:
    """Return the share of a stage that is still to be done: the steps after its newest checkpoint on the disk, or the
    benchmarks that have no result."""
    planned = run.planned
    if stage.stage == "train":
        newest = next(checkpoint_files.newest_first(home.run(planned.run_id, stage.generation).checkpoints), None)
        return costs.training_left(planned.run, newest.step) if newest else 1.0
    passes = costs.evaluation_passes(planned.run, filter(is_runnable, planned.benchmarks))
    return costs.evaluation_passes(planned.run, stage.missing) / passes if passes else 1.0


def _hours(estimate: Estimate, stage: str, gpus: int) -> float:
    """Return the hours of one job on the GPUs that it asks for."""
    return (estimate.train_hours if stage == "train" else estimate.evaluate_hours) / max(gpus, 1)
