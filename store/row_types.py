"""The rows that queries return: plain values without a database session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from experiments.benchmarks import AnyBenchmark
from experiments.resources import Stage

State = Literal["started", "preempted", "succeeded", "failed", "died"]


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: str
    label: str
    """The name in the newest submission."""
    submission: str
    """The newest submission."""
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """One `cebctl submit`; texts are empty and the time is None if its first line was damaged."""

    name: str
    matrix: str
    matrix_path: str
    executor: str
    code: str
    git_commit: str | None
    submitted_by: str
    host: str
    submitted_at: float | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A job of the executor that works on a submission's claims."""

    submission: str
    job: str
    """Its unique name."""
    executor_id: str
    pid: int | None
    launched_at: float


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim that was not released, finished or not, with its submission's executor and workers."""

    submission: str
    run_id: str
    stage: Stage
    label: str
    benchmarks: tuple[AnyBenchmark, ...]
    claimed_at: float
    executor: str
    host: str
    submitted_by: str
    job: str | None
    """The unique name of the array that works on it; None: any worker of the submission."""
    array_index: int | None
    workers: tuple[WorkerRow, ...]
    generation: int = 1
    """The generation of its stage."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A claim that begins a new generation, released or not."""

    run_id: str
    stage: Stage
    generation: int
    benchmarks: tuple[AnyBenchmark, ...]


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of one stage, as of the last record in its journal."""

    run_id: str
    stage: Stage
    attempt: int
    submission: str | None
    host: str | None
    pid: int | None
    state: State
    error: str | None
    error_kind: str | None
    traceback: str | None
    failed_benchmarks: dict[str, str] | None
    """Of an evaluation, the error of each benchmark that failed, by evaluation_id."""
    started_at: float | None
    updated_at: float
    """The time of its last record, by its own clock."""
    step: int | None
    steps: int | None
    epoch: float | None
    epochs: float | None
    images_per_second: float | None
    memory_mb: float | None
    activity: str | None
    resumed_step: int | None
    checkpoint_step: int | None
    """The step of the newest checkpoint, whose file is the next field."""
    checkpoint_file: str | None
    code: str | None
    engine: str | None
    executor_job: str | None
    """The executor's id of the job, such as Slurm's `4711_3`."""
    restart: int | None
    """How often the executor had started it before; None for never."""
    numerics: dict[str, int] | None
    """Versions of the parts of the engine that make its numbers, by part; None if not recorded."""
    libraries: dict[str, str] | None
    """Versions of the packages it imports; None if not recorded."""
    generation: int
    """The count of the times that the stage was begun anew."""


@dataclass(frozen=True, slots=True)
class MetricPoint:
    stage: Stage
    name: str
    step: int
    attempt: int
    epoch: float
    value: float | None
    """None where it was not finite."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One measure of one evaluation."""

    run_id: str
    evaluation_id: str
    attempt: int
    stage: Stage
    name: str
    unit: str
    total: int
    correct: int | None
    value: float | None
    std: float | None
    benchmark: AnyBenchmark
    data_digest: str
    checkpoint_step: int
    engine: str
    measured_at: float
    seconds: float
    numerics: dict[str, int] | None
    """As in `AttemptRow`."""
    libraries: dict[str, str] | None
    generation: int
    """The count of the times that it was measured anew; these rows are of the newest."""

    @property
    def number(self) -> float | None:
        """The value, or the correct fraction of a count."""
        if self.correct is None:
            return self.value
        return self.correct / self.total if self.total else None
