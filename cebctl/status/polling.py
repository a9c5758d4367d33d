"""Looking at a matrix again and again: what was seen, what kept it from being seen, and whom to tell of changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from cebctl.status import state_hook
from cebctl.status.collect import collect_statuses
from cebctl.status.states import RunStatus
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store.connect import Store


@dataclass(frozen=True)
class Snapshot:
    """One look."""

    runs: list[RunStatus]
    warnings: tuple[str, ...] = ()


def poll(matrix: Matrix, store: Store, home: Home) -> Snapshot:
    """The runs as they are now; the user's hook is told of those in another state than at the last look."""
    runs = collect_statuses(matrix, store, home)
    warnings = [*store.warnings, *state_hook.notify(matrix, runs, home)]
    store.warnings.clear()
    return Snapshot(runs, tuple(warnings))


def make_poller(matrix: Matrix, store: Store, home: Home) -> partial[Snapshot]:
    """`poll`, to be called without arguments."""
    return partial(poll, matrix, store, home)
