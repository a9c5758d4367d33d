"""The state of a matrix, collected once and handed to every part of a command that needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cebctl.status.collect import load_observations, run_ids_with_dependencies
from cebctl.status.rerun import Rerun, raise_generations
from cebctl.status.states import Observations, RunStatus, derive_statuses
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store.connect import Store


@dataclass(frozen=True)
class MatrixStatus:
    """The observations of a matrix and the states that follow from them."""

    observations: Observations
    runs: Sequence[RunStatus]
    """Every run, in order; what is to be done again counts as missing."""
    current: Sequence[RunStatus]
    """The same without anything to be done again: the states that `status` shows."""


def collect_matrix_status(
    matrix: Matrix, store: Store, home: Home, *, fresh: bool = True, again: Rerun | None = None
) -> MatrixStatus:
    """Observe the runs of a matrix and derive their states.

    `fresh=False` takes the store as it is and changes nothing.
    """
    observations = load_observations(run_ids_with_dependencies(matrix), store, home, fresh=fresh)
    current = derive_statuses(matrix, observations)
    if again is None:
        return MatrixStatus(observations, current, current)
    observations = raise_generations(observations, current, again)
    return MatrixStatus(observations, derive_statuses(matrix, observations), current)
