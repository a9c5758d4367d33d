"""Where a run's weights come from, if not from its seed: a shorter run that it extends, or a file that was imported.

Both are fields of the spec, so that no number is passed off as that of a run from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec
from msgspec import UNSET

from experiments.identity import run_id
from experiments.spec import Run


def parent(run: Run) -> Run | None:
    """The run whose last checkpoint this one goes on from: it differs in its length alone."""
    if not run.extends:
        return None
    *earlier, last = run.extends
    return msgspec.structs.replace(run, epochs=float(last), extends=tuple(earlier) or UNSET)


def parent_id(run: Run) -> str | None:
    """The identity of its `parent`."""
    extended = parent(run)
    return run_id(extended) if extended else None


def ancestors(run: Run) -> Iterator[Run]:
    """The runs whose training is part of this one's, the first one first; not itself."""
    extended = parent(run)
    if extended:
        yield from ancestors(extended)
        yield extended


def epochs_of_its_own(run: Run) -> float:
    """How many epochs it trains itself."""
    return run.epochs - (run.extends[-1] if run.extends else 0)


def problem(run: Run) -> tuple[str, str] | None:
    """The field that contradicts another, and in words what is wrong and what is allowed."""
    lengths = [*(run.extends or ()), run.epochs]
    if any(later <= earlier for earlier, later in pairwise(lengths)):
        given = ", ".join(f"{length:g}" for length in lengths[:-1])
        return "extends", f"extends: expected rising lengths below epochs, {run.epochs:g}, got {given}"
    if not run.epochs and not run.weights:
        return (
            "epochs",
            "epochs: expected a number > 0, got 0; only a run with imported `weights` may do without training",
        )
    return None
