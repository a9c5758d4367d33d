"""Whether what a spec says about training takes effect: said of a run before it starts, and of what it journalled.

A jump-start that outlasts its run leaves a model of another rho than the one in its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from experiments import datasets, lineage
from experiments.spec import GammaJumpStart, GatedJumpStart, NoJumpStart, Objective, Run, Xent

if TYPE_CHECKING:
    from experiments.matrix.planned_run import PlannedRun

TOLERANCE = 1e-6
"""Of a journalled rho, which is computed from gamma."""
UNDERFLOW = 700.0
"""From about this rho on gamma is 0 in float64, and the rho computed from it infinite."""
LITTLE = 0.1
"""A share of the steps with the target in force below which a plan warns."""

Epochs = Sequence[Mapping[str, float | None]]
"""The metrics over each epoch, in order; None for a number that is not finite."""


def is_target(objective: Objective, rho: float | None) -> bool:
    """Whether a journalled rho, None if it was infinite, is the one that the spec asks for; always for xent."""
    if isinstance(objective, Xent):
        return True
    if rho is None:
        return objective.rho > UNDERFLOW
    return math.isclose(rho, objective.rho, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def rates_behind_jump_start(objective: Objective, epochs: Epochs) -> list[float]:
    """Return the rates, in nats, of the epochs that began with the target rho in force: none if there is no such epoch;
    of a run without a jump-start that has one epoch, that of the epoch."""
    rated = [(rate, epoch.get("rho")) for epoch in epochs if (rate := epoch.get("rate")) is not None]
    if isinstance(objective, Xent) or not rated or not is_target(objective, rated[-1][1]):
        return []
    begun = [rate for (_, before), (rate, _) in pairwise(rated) if is_target(objective, before)]
    if not begun and isinstance(objective.jump_start, NoJumpStart):
        return [rated[-1][0]]
    return begun


def ineffective_settings(run: Run) -> Iterator[str]:
    """Yield, with the numbers, each setting of a run that never takes effect in it, or hardly.

    These are a jump-start that is longer or leaves the target rho less than a tenth of the steps, drops and a warm-up
    beyond its epochs, a batch larger than its data. That a gate was not passed is known afterwards only.
    """
    if not run.epochs:
        return
    images = run.data.train_subset or datasets.info(run.data.name).train - (run.data.holdout or 0)
    steps_per_epoch = max(1, images // run.batch)
    steps = max(1, round(run.epochs * steps_per_epoch))
    yield from _jump_start(run, steps, steps_per_epoch)
    last = (steps - 1) / steps_per_epoch
    late = [f"{drop:g}" for drop in run.schedule.drops if drop > last]
    if late:
        yield f"schedule.drops: {', '.join(late)} is never reached, the run ends at epoch {run.epochs:g}"
    if run.schedule.warmup_epochs > last:
        yield f"schedule.warmup_epochs: {run.schedule.warmup_epochs:g}, of {run.epochs:g} epochs: lr is never reached"
    if run.batch > images:
        yield f"batch: {run.batch:,} is more than the {images:,} training images, all of which are one batch"


def runs_by_ineffective_setting(runs: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    """Return what is `without_effect`, with the runs that it is said of. A run that another one extends reaches its end
    there, and nothing is said of it."""
    extended = {lineage.parent_id(run.run) for run in runs}
    found: dict[str, list[PlannedRun]] = {}
    for run in runs:
        if run.run_id not in extended:
            for text in ineffective_settings(run.run):
                found.setdefault(text, []).append(run)
    return found


def _jump_start(run: Run, steps: int, steps_per_epoch: int) -> Iterator[str]:
    if isinstance(run.objective, Xent):
        return
    match run.objective.jump_start:
        case NoJumpStart():
            return
        case GatedJumpStart(threshold=threshold) if threshold >= 1:
            yield f"jump_start.threshold: no accuracy is above {threshold:g}: the target rho is never in force"
            return
        case GatedJumpStart(epochs=epochs):
            taken = (epochs + 1) * steps_per_epoch
            at_least = f"at least {taken:,}"
        case GammaJumpStart(steps=taken):
            at_least = f"{taken:,}"
    text = f"the jump-start takes {at_least} of {steps:,} steps"
    left = steps - taken
    if left <= 0:
        yield f"{text}: the target rho is never in force"
    elif left < LITTLE * steps:
        yield f"{text}: the target rho is in force for {left:,} ({left / steps:.1%}) of them"
