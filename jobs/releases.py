"""Which claims were given back: taken for dead and claimed anew, or cancelled."""

from __future__ import annotations

from jobs.home import Home
from jobs.journal import Released, records


def given_back(home: Home, submission: str, run_id: str, stage: str) -> bool:
    """Whether a submission's claim was given back, by itself or by a later one (whose name sorts behind it)."""
    return any(
        isinstance(record, Released) and (record.submission, record.run_id, record.stage) == (submission, run_id, stage)
        for path in sorted(home.submissions.glob("*.jsonl"))
        if path.stem >= submission
        for record in records(path)
    )
