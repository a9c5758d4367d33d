"""Auto-PGD (Croce & Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", Algorithm 1). Shapes: B images, D values of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from experiments.benchmarks import Loss, Norm
from jobs.engine.attacks.losses import ascent
from jobs.engine.attacks.rows import Broken, Classifier, kept

STEPS = 100
_MOMENTUM = 0.25
"""1 - alpha of Algorithm 1: how much of the last step is made again."""
_RHO = 0.75
"""An image whose loss rose in at most this share of the steps since the last checkpoint has its step size halved."""


@dataclass
class _State:
    """What is known of each image that is still attacked."""

    place_B: Tensor
    owner_B: Tensor
    x_BD: Tensor
    y_B: Tensor
    target_B: Tensor
    low_BD: Tensor
    high_BD: Tensor
    z_BD: Tensor
    before_BD: Tensor
    loss_B: Tensor
    gradient_BD: Tensor
    best_BD: Tensor
    best_loss_B: Tensor
    best_gradient_BD: Tensor
    step_B: Tensor
    rises_B: Tensor
    """Steps since the last checkpoint in which the loss rose."""
    checked_loss_B: Tensor
    """The best loss at the last checkpoint."""
    halved_B: Tensor
    """bool: the step size was halved at the last checkpoint."""


def apgd(
    classifier: Classifier,
    x_BD: Tensor,
    y_B: Tensor,
    start_BD: Tensor,
    *,
    norm: Norm,
    eps: float,
    loss: Loss,
    target_B: Tensor | None = None,
    owner_B: Tensor | None = None,
    steps: int = STEPS,
) -> Broken:
    """Climb the loss away from y, or toward `target_B`, until the network is wrong; that is the point returned.

    `start_BD` lies within the ball. Rows of one `owner_B` are finished together.
    """
    outcome = Broken.none(x_BD)

    def drop(state: _State, broken_B: Tensor) -> _State:
        if not broken_B.any():
            return state
        outcome.add(state.place_B[broken_B], state.z_BD[broken_B])
        return kept(state, ~torch.isin(state.owner_B, state.owner_B[broken_B]))

    _climb(classifier, x_BD, y_B, start_BD, norm, eps, loss, target_B, owner_B, steps, drop)
    return outcome


def highest(
    classifier: Classifier,
    x_BD: Tensor,
    y_B: Tensor,
    start_BD: Tensor,
    *,
    norm: Norm,
    eps: float,
    loss: Loss,
    steps: int = STEPS,
) -> Tensor:
    """Return for each image the point of the highest loss that `steps` steps meet, wrong or not; every pass takes all
    images, in their order."""
    return _climb(classifier, x_BD, y_B, start_BD, norm, eps, loss, None, None, steps, lambda state, _: state).best_BD


def _climb(
    classifier: Classifier,
    x_BD: Tensor,
    y_B: Tensor,
    start_BD: Tensor,
    norm: Norm,
    eps: float,
    loss: Loss,
    target_B: Tensor | None,
    owner_B: Tensor | None,
    steps: int,
    drop: Callable[[_State, Tensor], _State],
) -> _State:
    """Return the state behind the last step; `drop(state, wrong_B)` leaves out what is finished."""
    value = partial(_value, loss, target_B is not None)
    target_B = y_B if target_B is None else target_B
    logits_BK, loss_B, gradient_BD = classifier.gradient(start_BD, value, y_B, target_B)
    low_BD, high_BD = ((x_BD - eps).clamp_(0, 1), (x_BD + eps).clamp_(0, 1)) if norm == "linf" else (x_BD, x_BD)
    place_B = torch.arange(len(x_BD), device=x_BD.device)
    state = _State(
        place_B, place_B if owner_B is None else owner_B, x_BD, y_B, target_B, low_BD, high_BD, start_BD, start_BD,
        loss_B, gradient_BD, start_BD, loss_B, gradient_BD, torch.full_like(loss_B, 2 * eps),
        torch.zeros_like(y_B), loss_B, torch.ones_like(y_B, dtype=torch.bool),
    )  # fmt: skip
    state = drop(state, logits_BK.argmax(dim=1) != y_B)
    windows = _windows(steps)
    for step in range(1, steps + 1):
        if not len(state.z_BD):
            break
        state.before_BD, state.z_BD = state.z_BD, _stepped(state, norm, eps, 0.0 if step == 1 else _MOMENTUM)
        logits_BK, loss_B, gradient_BD = classifier.gradient(state.z_BD, value, state.y_B, state.target_B)
        state.rises_B = state.rises_B + (loss_B > state.loss_B)
        state.loss_B, state.gradient_BD = loss_B, gradient_BD
        better_B = loss_B > state.best_loss_B
        state.best_loss_B = torch.where(better_B, loss_B, state.best_loss_B)
        state.best_BD = torch.where(better_B[:, None], state.z_BD, state.best_BD)
        state.best_gradient_BD = torch.where(better_B[:, None], gradient_BD, state.best_gradient_BD)
        state = drop(state, logits_BK.argmax(dim=1) != state.y_B)
        if step in windows:
            _check(state, windows[step])
    return state


def _value(loss: Loss, targeted: bool, logits_BK: Tensor, y_B: Tensor, target_B: Tensor) -> Tensor:
    return ascent(loss, logits_BK, y_B, target_B if targeted else None)


def _stepped(state: _State, norm: Norm, eps: float, momentum: float) -> Tensor:
    """Return z^(k+1) = P(z + alpha (P(z + eta g) - z) + (1 - alpha) (z - before)): Algorithm 1, lines 7 and 8."""
    step_B1 = state.step_B[:, None]
    if norm == "linf":
        moved_BD: Tensor = torch.addcmul(state.z_BD, state.gradient_BD.sign(), step_B1)
        moved_BD = torch.clamp(moved_BD, state.low_BD, state.high_BD)
    else:
        moved_BD = _within(torch.addcmul(state.z_BD, _unit(state.gradient_BD), step_B1), state.x_BD, eps)
    if not momentum:
        return moved_BD
    moved_BD = torch.lerp(moved_BD, state.z_BD, momentum).add_(state.z_BD - state.before_BD, alpha=momentum)
    return torch.clamp(moved_BD, state.low_BD, state.high_BD) if norm == "linf" else _within(moved_BD, state.x_BD, eps)


def _unit(gradient_BD: Tensor) -> Tensor:
    # Divided by the largest component first: squares of gradients below 1e-23 vanish in fp32.
    largest_B1 = gradient_BD.abs().amax(dim=1, keepdim=True)
    scaled_BD = gradient_BD / torch.where(largest_B1 > 0, largest_B1, 1)
    length_B1: Tensor = torch.linalg.vector_norm(scaled_BD, dim=1, keepdim=True)
    return scaled_BD / length_B1.clamp(min=1)


def _within(z_BD: Tensor, x_BD: Tensor, eps: float) -> Tensor:
    """Return the point of the l2 ball nearest to z, then the nearest of [0, 1], which only comes closer to x."""
    change_BD = z_BD - x_BD
    length_B1 = torch.linalg.vector_norm(change_BD, dim=1, keepdim=True)
    return torch.addcmul(x_BD, change_BD, (eps / length_B1).clamp(max=1)).clamp_(0, 1)


def _check(state: _State, window: int) -> None:
    """Halve the step size of images whose loss hardly rose in the `window` steps since the last checkpoint (Condition
    1), or whose best loss and step size have not changed (Condition 2), and go on from their best point."""
    stuck_B = state.rises_B <= _RHO * window
    stuck_B |= ~state.halved_B & (state.checked_loss_B >= state.best_loss_B)
    state.step_B = torch.where(stuck_B, state.step_B / 2, state.step_B)
    state.z_BD = torch.where(stuck_B[:, None], state.best_BD, state.z_BD)
    state.gradient_BD = torch.where(stuck_B[:, None], state.best_gradient_BD, state.gradient_BD)
    state.halved_B, state.checked_loss_B, state.rises_B = stuck_B, state.best_loss_B, torch.zeros_like(state.rises_B)


@cache
def _windows(steps: int) -> dict[int, int]:
    """Return the checkpoints of Section 3 in whole steps, each with the number of steps since the last."""
    window, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    windows, step = {}, 0
    while step + window <= steps:
        step += window
        windows[step] = window
        window = max(window - less, least)
    return windows
