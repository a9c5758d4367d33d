"""Looking at a matrix again and again: what was seen, what kept it from being seen, and whom to tell of changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from cebctl.status import state_hook
from cebctl.status.collect import survey
from cebctl.status.states import RunStatus
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store.connect import Store


@dataclass(frozen=True)
class Seen:
    """One look."""

    runs: list[RunStatus]
    warnings: tuple[str, ...] = ()


def look(matrix: Matrix, store: Store, home: Home) -> Seen:
    """The runs as they are now; the user's hook is told of those in another state than at the last look."""
    runs = survey(matrix, store, home)
    warnings = [*store.warnings, *state_hook.tell(matrix, runs, home)]
    store.warnings.clear()
    return Seen(runs, tuple(warnings))


def lookout(matrix: Matrix, store: Store, home: Home) -> partial[Seen]:
    """`look`, to be called without arguments."""
    return partial(look, matrix, store, home)
