"""How a stage of a run ended, by its journals alone."""

from __future__ import annotations

from jobs.home import RunPaths
from jobs.journal import TERMINAL, Succeeded, records


def trained(paths: RunPaths) -> bool:
    """Whether the newest training attempt that ended did so by succeeding."""
    for attempt in reversed(paths.attempts("train")):
        ends = [record for record in records(paths.journal("train", attempt)) if isinstance(record, TERMINAL)]
        if ends:
            return isinstance(ends[-1], Succeeded)
    return False
