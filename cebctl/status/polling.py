"""Repeated polling of a matrix: its runs, the warnings, and the call of the user's hook about changes."""

from __future__ import annotations

from dataclasses import dataclass

from cebctl.status import state_hook
from cebctl.status.collect import collect_statuses
from cebctl.status.states import RunStatus
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store.connect import Store


@dataclass(frozen=True)
class Snapshot:
    """The runs at one moment."""

    runs: list[RunStatus]
    warnings: tuple[str, ...] = ()


def poll(matrix: Matrix, store: Store, home: Home) -> Snapshot:
    """Return the runs as they are now, and call the user's hook about those whose state has changed."""
    runs = collect_statuses(matrix, store, home)
    warnings = [*store.warnings, *state_hook.notify(matrix, runs, home)]
    store.warnings.clear()
    return Snapshot(runs, tuple(warnings))
