"""Schedules as pure functions of the step or the epoch: the learning rate, and gamma with its jump-start."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from experiments import spec
from jobs import own_parts
from jobs.engine.objectives import Objective
from jobs.own_parts import PartError


def warmup(schedule: spec.Schedule, epoch: float) -> float:
    """Return the factor of the warm-up at an epoch of a schedule as `lineage.resolved_schedule` returns it: linear from
    0 at epoch 0 to 1 at `warmup_epochs` (the public TPU code's), or the rise of a cycle."""
    if schedule.own:
        return 1.0
    if schedule.name == "one_cycle":
        share = epoch / (schedule.rise * schedule.horizon_epochs)  # type: ignore[operator]
        return _anneal(schedule, share, schedule.initial_factor, 1.0)  # type: ignore[arg-type]
    return min(1.0, epoch / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0


def decline(schedule: spec.Schedule, epoch: float) -> float:
    """Return the factor behind the warm-up, 1 at its beginning; the marginal's learning rate follows it alone. One of
    one's own is all of it."""
    if schedule.own:
        return own_schedule(schedule.own)(min(1.0, epoch / schedule.own.horizon_epochs))  # type: ignore[operator]
    return _DECLINES[schedule.name or "steps"](schedule, epoch)


@cache
def own_schedule(part: spec.SchedulePart) -> Callable[[float], float]:
    """Return a schedule of one's own: of the progress in [0, 1], a factor. Raises PartError for one that returns no
    finite number >= 0."""
    function = own_parts.load(part, "schedule")

    def factor(progress: float) -> float:
        value = function(progress, **part.fields)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise PartError(part, f"returns {value!r} at {progress:g}; expected a finite number >= 0")
        return float(value)

    return factor


def drops(schedule: spec.Schedule, epoch: float) -> float:
    """Return the factor of the drops: `factor` to the number of `drops` that the epoch has reached."""
    return schedule.factor ** sum(epoch >= drop for drop in schedule.drops)


def _cosine(schedule: spec.Schedule, epoch: float) -> float:
    return _cosine_between(_share(schedule, epoch, schedule.warmup_epochs), 1.0, schedule.final_factor or 0.0)


def _polynomial(schedule: spec.Schedule, epoch: float) -> float:
    left = 1 - _share(schedule, epoch, schedule.warmup_epochs)
    return _lerp(left ** (schedule.power or 1.0), schedule.final_factor or 0.0, 1.0)


def _fall(schedule: spec.Schedule, epoch: float) -> float:
    """Return the factor of a cycle's second part."""
    top = schedule.rise * schedule.horizon_epochs  # type: ignore[operator]
    return _anneal(schedule, _share(schedule, epoch, top), 1.0, schedule.final_factor or 0.0)


_DECLINES = {"steps": drops, "cosine": _cosine, "polynomial": _polynomial, "one_cycle": _fall}


def _share(schedule: spec.Schedule, epoch: float, first: float) -> float:
    """Return the share in [0, 1] of the epochs from `first` to the horizon that are over."""
    return max(0.0, min(1.0, (epoch - first) / (schedule.horizon_epochs - first)))  # type: ignore[operator]


def _anneal(schedule: spec.Schedule, share: float, start: float, end: float) -> float:
    return (_lerp if schedule.anneal == "linear" else _cosine_between)(share, start, end)


def _cosine_between(share: float, start: float, end: float) -> float:
    """Return the value between `start` and `end` on half a cosine."""
    return _lerp((1 - math.cos(math.pi * max(0.0, min(1.0, share)))) / 2, start, end)


def gamma(
    objective: Objective,
    rho: float,
    jump_start: spec.JumpStart,
    step: int,
    steps_per_epoch: int,
    passed_step: int | None,
) -> float:
    """Return gamma at a step (from 0 on) of a run whose target is `rho`.

    `passed_step` is the step from which the training accuracy counts as above the gate's threshold
    (`gate_passed`), None while it is not; only a gated jump-start uses it.
    """
    match jump_start:
        case spec.NoJumpStart():
            return objective.gamma_of(rho)
        case spec.GammaJumpStart(steps=steps, start_rho=start_rho):
            return _lerp(step / steps, objective.gamma_of(start_rho), objective.gamma_of(rho))
        case spec.GatedJumpStart():
            return objective.gamma_of(gated_rho(jump_start, rho, step, steps_per_epoch, passed_step))


def gated_rho(
    jump_start: spec.GatedJumpStart, rho: float, step: int, steps_per_epoch: int, passed_step: int | None
) -> float:
    """Return rho at a step: from start_rho to hold_rho over the first epochs, constant until the gate is passed, then
    from hold_rho to the target over one epoch (v2 appendix A.1). Each part is linear in rho."""
    falling_steps = jump_start.epochs * steps_per_epoch
    if passed_step is None or step < falling_steps:
        return _lerp(step / falling_steps, jump_start.start_rho, jump_start.hold_rho)
    first_step = max(passed_step, falling_steps)
    return _lerp((step - first_step) / steps_per_epoch, jump_start.hold_rho, rho)


def gate_passed(jump_start: spec.JumpStart, accuracy: float, step: int, passed_step: int | None) -> int | None:
    """Return the new `passed_step` at the end of an epoch with this training accuracy, `step` steps into the run.

    Once passed it stays passed: accuracy that falls while rho does is what the run is about.
    """
    if passed_step is None and isinstance(jump_start, spec.GatedJumpStart) and accuracy > jump_start.threshold:
        return step
    return passed_step


def _lerp(share: float, start: float, end: float) -> float:
    """Return the value between `start` and `end` at a share from 0 to 1, an end outside of it (v2 Listing 2)."""
    share = max(0.0, min(1.0, share))
    return start * (1 - share) + end * share
