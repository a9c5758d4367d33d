"""The lineage of a run that extends a shorter one: its parent, all its ancestors, and the schedule they share.

`extends` is a field of the spec, so that an extended run never shares an identity with one that was trained at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from experiments.identity import run_id
from experiments.spec import Run, Schedule


def parent(run: Run) -> Run | None:
    """Return the run whose last checkpoint this one continues, None if it extends none. Only its length differs."""
    if not run.extends:
        return None
    *earlier, last = run.extends
    return msgspec.structs.replace(run, epochs=float(last), extends=tuple(earlier) or UNSET)


def parent_id(run: Run) -> str | None:
    """Return the identity of the `parent`, None if the run extends none."""
    extended = parent(run)
    return run_id(extended) if extended else None


def ancestors(run: Run) -> Iterator[Run]:
    """Yield the runs whose training is part of this one's, the earliest first, without the run itself."""
    extended = parent(run)
    if extended:
        yield from ancestors(extended)
        yield extended


def own_epochs(run: Run) -> float:
    """Return the number of epochs that the run trains itself, without those of its ancestors."""
    return run.epochs - (run.extends[-1] if run.extends else 0)


def resolved_schedule(run: Run) -> Schedule:
    """Return the schedule with the default of each field of its kind. The horizon is the length of the first run that
    it goes back to, so that an extended run goes on by the schedule that it began with."""
    schedule = run.schedule
    if schedule.own and not schedule.own.horizon_epochs:
        own = msgspec.structs.replace(schedule.own, horizon_epochs=float(first_epochs(run)))
        return msgspec.structs.replace(schedule, own=own)
    if not schedule.name:
        return schedule
    fields = {
        name: float(first_epochs(run)) if default is UNSET else default
        for name, default in schedule.KINDS[schedule.name].items()
        if getattr(schedule, name) is UNSET
    }
    return msgspec.structs.replace(schedule, **fields) if fields else schedule


def first_epochs(run: Run) -> float:
    """Return the epochs of the first run that this one goes back to, of itself if it extends none."""
    return run.extends[0] if run.extends else run.epochs
