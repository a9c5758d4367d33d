"""Which claims were given back: taken for dead and claimed anew, or cancelled."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobs.journal.records import Released, of_submission
from jobs.paths import TIME, Home


def given_back(home: Home, submission: str, run_id: str, stage: str) -> bool:
    """Whether a submission's claim was given back, by itself or by a later one, whose name begins with a later time,
    give or take the clocks of two machines."""
    since = _ten_minutes_before(submission)
    return any(
        isinstance(record, Released) and (record.submission, record.run_id, record.stage) == (submission, run_id, stage)
        for path in sorted(home.submissions.glob("*.jsonl"))
        if path.stem >= since
        for record in of_submission(home, path.stem)
    )


def _ten_minutes_before(submission: str) -> str:
    """The beginning of the names of that time."""
    try:
        return (datetime.strptime(submission[:15], TIME) - timedelta(minutes=10)).strftime(TIME)
    except ValueError:
        return ""
