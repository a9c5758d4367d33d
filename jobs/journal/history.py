"""Past attempts and claims of a run, from the journals alone: a job does not read the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from jobs.journal.ownership import attempt_records, read_head, submission_records
from jobs.journal.records import TERMINAL, Released, Succeeded
from jobs.paths import TIME, Home, RunPaths


def is_trained(paths: RunPaths) -> bool:
    """Whether the newest attempt at this generation of the training that ended did so by succeeding."""
    for attempt in reversed(training_attempts(paths)):
        ends = [record for record in attempt_records(paths, "train", attempt) if isinstance(record, TERMINAL)]
        if ends:
            return isinstance(ends[-1], Succeeded)
    return False


def newest_complete(paths: RunPaths) -> RunPaths:
    """Return the run with the newest complete generation of its training, or with the first where none is complete."""
    numbers = {_generation(paths, attempt) for attempt in paths.attempts("train")}
    generations = (replace(paths, generation=number) for number in sorted(numbers, reverse=True))
    return next((run for run in generations if is_trained(run)), replace(paths, generation=1))


def training_attempts(paths: RunPaths) -> list[int]:
    """Return the attempts at this generation of the training, oldest first."""
    return [attempt for attempt in paths.attempts("train") if _generation(paths, attempt) == paths.generation]


def _generation(paths: RunPaths, attempt: int) -> int:
    head = read_head(paths, "train", attempt)
    return head.generation if head else 1


def is_claim_released(home: Home, submission: str, run_id: str, stage: str) -> bool:
    """Whether a submission's claim was given back, by that submission or by a later one.

    Only later submissions are read, by the time in their names, less ten minutes for the clocks of two machines.
    """
    try:
        since = (datetime.strptime(submission[:15], TIME) - timedelta(minutes=10)).strftime(TIME)
    except ValueError:  # a name without a time: read all
        since = ""
    return any(
        isinstance(record, Released) and (record.submission, record.run_id, record.stage) == (submission, run_id, stage)
        for path in sorted(home.submissions.glob("*.jsonl"))
        if path.stem >= since
        for record in submission_records(home, path.stem)
    )
