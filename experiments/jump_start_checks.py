"""Check that the settings of training take effect, before a run starts and in its journal.

A jump-start that outlasts its run leaves a model of another rho than the one in its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from experiments import costs, lineage
from experiments.spec import GammaJumpStart, GatedJumpStart, NoJumpStart, Objective, Run, Xent

if TYPE_CHECKING:
    from experiments.matrix.planned_run import PlannedRun

RHO_TOLERANCE = 1e-6
"""Of a journalled rho, relative and absolute: it is computed from gamma, and so rounded."""
UNDERFLOW_RHO = 700.0
"""From about this rho on gamma is 0 in float64, and the rho that is computed from it infinite."""
MIN_TARGET_SHARE = 0.1
"""A plan warns where the target rho is in force for a smaller share of the steps."""

Epochs = Sequence[Mapping[str, float | None]]
"""The metrics of each epoch, in order. None is a number that is not finite."""


def is_target(objective: Objective, rho: float | None) -> bool:
    """Return whether a journalled rho (None: infinite) is the one of the spec; for xent always."""
    if isinstance(objective, Xent):
        return True
    if rho is None:
        return objective.rho > UNDERFLOW_RHO
    return math.isclose(rho, objective.rho, rel_tol=RHO_TOLERANCE, abs_tol=RHO_TOLERANCE)


def rates_behind_jump_start(objective: Objective, epochs: Epochs) -> list[float]:
    """Return the rates, in nats, of the epochs that began with the target rho in force.

    A run of one epoch without a jump-start has the rate of this epoch.
    """
    rated = [(rate, epoch.get("rho")) for epoch in epochs if (rate := epoch.get("rate")) is not None]
    if isinstance(objective, Xent) or not rated or not is_target(objective, rated[-1][1]):
        return []
    # An epoch's rho is that of its last step, so that of the epoch before says how the epoch began.
    rates = [rate for (_, rho_before), (rate, _) in pairwise(rated) if is_target(objective, rho_before)]
    if not rates and isinstance(objective.jump_start, NoJumpStart):
        return [rated[-1][0]]
    return rates


def ineffective_settings(run: Run) -> Iterator[str]:
    """Yield a line for each setting of a run that takes no effect or hardly any.

    These are a jump-start that leaves the target rho less than a tenth of the steps, drops and a warm-up beyond the
    epochs, and a batch larger than the data. Only the journal tells whether the gate of a gated jump-start was passed.
    """
    if not run.epochs:
        return
    images = costs.images_per_epoch(run)
    steps_per_epoch = max(1, images // run.batch)
    steps = max(1, round(run.epochs * steps_per_epoch))
    yield from _jump_start(run, steps, steps_per_epoch)
    last_epoch = (steps - 1) / steps_per_epoch
    late_drops = [f"{drop:g}" for drop in run.schedule.drops if drop > last_epoch]
    if late_drops:
        yield f"schedule.drops: {', '.join(late_drops)} is never reached, the run ends at epoch {run.epochs:g}"
    if run.schedule.warmup_epochs > last_epoch:
        yield f"schedule.warmup_epochs: {run.schedule.warmup_epochs:g}, of {run.epochs:g} epochs: lr is never reached"
    horizon = lineage.resolved_schedule(run).horizon_epochs
    if horizon and horizon <= last_epoch:
        yield f"schedule.horizon_epochs: {horizon:g}, of {run.epochs:g} epochs: lr stays at its end from then on"
    if run.batch > images:
        yield f"batch: {run.batch:,} is more than the {images:,} training images, all of which are one batch"


def runs_by_ineffective_setting(runs: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    """Return the lines of `ineffective_settings`, each with its runs.

    A run that another one of them extends is left out: its training goes on there.
    """
    extended = {lineage.parent_id(run.run) for run in runs}
    by_setting: dict[str, list[PlannedRun]] = {}
    for run in runs:
        if run.run_id not in extended:
            for text in ineffective_settings(run.run):
                by_setting.setdefault(text, []).append(run)
    return by_setting


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
            length = (epochs + 1) * steps_per_epoch
            at_least = f"at least {length:,}"
        case GammaJumpStart(steps=length):
            at_least = f"{length:,}"
    text = f"the jump-start takes {at_least} of {steps:,} steps"
    left = steps - length
    if left <= 0:
        yield f"{text}: the target rho is never in force"
    elif left < MIN_TARGET_SHARE * steps:
        yield f"{text}: the target rho is in force for {left:,} ({left / steps:.1%}) of them"
