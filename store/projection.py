"""The projection of records to rows: it depends on a journal's lines alone, in their order.

A journal is read in pieces. So each fold continues the row that the pieces before it left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from experiments.identity import is_run_id, run_id
from experiments.spec import Run
from jobs.journal.records import (
    AnyRecord,
    Checkpointed,
    Claim,
    Died,
    Failed,
    Heartbeat,
    Launched,
    Metrics,
    PlannedArray,
    Preempted,
    Released,
    Result,
    Resumed,
    Started,
    Submitted,
    Succeeded,
)
from store.tables import jobs, submissions

Row = dict[str, Any]


@dataclass
class JobRows:
    """The rows of records of one attempt."""

    job: Row
    metrics: list[tuple[object, ...]] = field(default_factory=list)
    """In the order of the table's columns."""
    results: dict[str, list[Row]] = field(default_factory=dict)
    """The measures of the last result, by evaluation."""
    misplaced: int = 0
    """The number of records that don't belong in the journal of an attempt."""


def fold_job(key: tuple[str, str, int], before: Row | None, records: list[AnyRecord]) -> JobRows:
    """Continue the row of an attempt (None: it has none yet) with its next records."""
    run_id, stage, attempt = key
    job = before or dict.fromkeys(jobs.c.keys()) | {
        "run_id": run_id,
        "stage": stage,
        "attempt": attempt,
        "state": "started",
        "generation": 1,
    }
    rows = JobRows(job)
    points = rows.metrics
    for record in records:
        if type(record) is Metrics:  # nearly all records are: the quickest test comes first
            step, epoch = record.step, record.epoch
            points += [(run_id, stage, attempt, name, step, epoch, v) for name, v in record.values.items()]
        elif isinstance(record, Result):
            rows.results[record.evaluation_id] = _measures(key, record)
        elif not _apply(job, record):
            rows.misplaced += 1
            continue
        job["updated_at"] = record.time
    return rows


def _apply(job: Row, record: AnyRecord) -> bool:
    """Apply a record to the row of its attempt; return False for a record that no job writes."""
    match record:
        case Started():
            job.update(
                state="started",
                started_at=record.time,
                submission=record.submission,
                host=record.host,
                pid=record.pid,
                code=record.code,
                engine=record.engine,
                resumed_step=record.resumed_step,
                executor_job=record.job or None,
                restart=record.restart or None,
                numerics=record.numerics or None,
                libraries=record.libraries or None,
                generation=record.generation,
            )
        case Heartbeat():
            job.update(
                step=record.step,
                steps=record.steps,
                epoch=record.epoch,
                epochs=record.epochs,
                images_per_second=record.images_per_second,
                memory_mb=record.memory_mb,
                activity=record.activity,
            )
        case Resumed():
            job.update(resumed_step=record.step)
        case Checkpointed():
            job.update(checkpoint_step=record.step, checkpoint_file=record.file)
        case Preempted():
            job.update(state="preempted", error=record.reason or None, error_kind="preempted")
        case Succeeded():
            job.update(state="succeeded", error=None, error_kind=None, traceback=None, failed_benchmarks=None)
        case Failed():
            job.update(
                state="failed",
                error=record.error,
                error_kind=record.kind,
                traceback=record.traceback or None,
                failed_benchmarks=record.benchmarks or None,
            )
        case Died():
            # The process may be killed after its own terminal record, which counts then.
            if job["state"] not in ("succeeded", "failed"):
                job.update(state="died", error=record.reason, error_kind="died")
        case _:
            return False
    return True


def _measures(key: tuple[str, str, int], result: Result) -> list[Row]:
    run_id, stage, attempt = key
    common = {
        "run_id": run_id,
        "stage": stage,
        "attempt": attempt,
        "evaluation_id": result.evaluation_id,
        "benchmark": msgspec.to_builtins(result.benchmark),
        "data_digest": result.data_digest,
        "checkpoint_step": result.checkpoint_step,
        "engine": result.engine,
        "measured_at": result.time,
        "seconds": result.seconds,
        "numerics": result.numerics or None,
        "libraries": result.libraries or None,
        "generation": result.generation,
    }
    return [
        common
        | msgspec.structs.asdict(measure)
        # The flags of the images belong to the counts; a mean has none.
        | {"per_sample": result.per_sample if measure.correct is not None else None}
        for measure in result.measures
    ]


@dataclass
class SubmissionRows:
    """The rows of records of one submission."""

    submission: Row | None = None
    runs: dict[str, Row] = field(default_factory=dict)
    claims: list[Row] = field(default_factory=list)
    workers: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    """Runs that these records claim with two different specs."""
    misplaced: int = 0
    """The number of records that don't belong in the journal of a submission."""


def fold_submission(name: str, first: bool, records: list[AnyRecord]) -> SubmissionRows:
    """Return the rows of the next records of a submission; `first`: they are the journal's first."""
    rows = SubmissionRows(submission=_UNKNOWN | {"name": name} if first else None)
    for record in records:
        match record:
            case PlannedArray():
                pass  # read by the jobs alone; the rows of its claims name it
            case Submitted():
                rows.submission = _submission(name, record)
            case Claim() if not is_misnamed(record):
                _claim(rows, name, record)
            case Launched():
                worker = {"job": record.job, "executor_id": record.executor_id, "pid": record.pid}
                rows.workers.append(worker | {"submission": name, "launched_at": record.time})
            case Released():
                rows.releases.append(
                    {
                        "submission": record.submission,
                        "run_id": record.run_id,
                        "stage": record.stage,
                        "released_by": name,
                        "reason": record.reason,
                        "released_at": record.time,
                    }
                )
            case _:
                rows.misplaced += 1
    return rows


_UNKNOWN: Row = dict.fromkeys(submissions.c.keys(), "") | {"git_commit": None, "submitted_at": None}
"""The row of a submission whose first line was damaged."""


def _submission(name: str, record: Submitted) -> Row:
    return {
        "name": name,
        "matrix": record.matrix,
        "matrix_path": record.matrix_path,
        "executor": record.executor,
        "code": record.code,
        "git_commit": record.commit,
        "submitted_by": record.user,
        "host": record.host,
        "submitted_at": record.time,
    }


def is_misnamed(claim: Claim) -> bool:
    """Whether the spec of a claim is invalid, or has another identity than the claim says."""
    return is_another_run(claim.run_id, claim.spec)


def is_another_run(name: str, spec: object) -> bool:
    """Whether a spec is not that of the run with this id."""
    try:
        return is_run_id(name) and run_id(msgspec.convert(spec, Run)) != name
    except msgspec.ValidationError:
        return True


def _claim(rows: SubmissionRows, name: str, claim: Claim) -> None:
    run = {"run_id": claim.run_id, "label": claim.label, "submission": name, "spec": claim.spec}
    if rows.runs.setdefault(claim.run_id, run)["spec"] != claim.spec:
        rows.conflicts.append(claim.run_id)
    rows.claims.append(
        {
            "submission": name,
            "run_id": claim.run_id,
            "stage": claim.stage,
            "label": claim.label,
            "benchmarks": msgspec.to_builtins(claim.benchmarks),
            "claimed_at": claim.time,
            "job": claim.job,
            "array_index": claim.index,
            "generation": claim.generation,
        }
    )
