"""Projected gradient descent (Madry et al., 2017), away from the label or toward a target; v2 section 2.4.

Shapes: B images, C channels, H by W pixels in [0, 1], K classes. The loss is summed over the batch: its gradient
with respect to one image does not know the others, so the batch size never changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.benchmarks import Loss, Norm
from jobs.engine.attacks.losses import LossFunction, ascent
from jobs.engine.attacks.memory_format import quick


@dataclass(frozen=True)
class Attacked:
    """What an attack found, and whether it could search at all."""

    x_BCHW: Tensor
    zero_gradient_B: Tensor
    """bool: the gradient with respect to the image was all zero at some step. In fp32 the cross-entropy of an
    image that is right by some 17 nats is exactly 0, and its attack stands still for no merit of the network."""


def pgd(
    logits_of: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    y_B: Tensor,
    *,
    norm: Norm,
    eps: float,
    steps: int,
    step_size: float,
    start_BCHW: Tensor | None = None,
) -> Tensor:
    """The images after `steps` steps of ascent: `search` without its account of the gradients."""
    options = {"norm": norm, "eps": eps, "steps": steps, "step_size": step_size, "start_BCHW": start_BCHW}
    return search(logits_of, x_BCHW, y_B, **options).x_BCHW  # type: ignore[arg-type]


def search(
    logits_of: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    y_B: Tensor,
    *,
    norm: Norm,
    eps: float,
    steps: int,
    step_size: float,
    start_BCHW: Tensor | None = None,
    loss: Loss | LossFunction = "cross_entropy",
    target_B: Tensor | None = None,
) -> Attacked:
    """Climb a loss (`losses.ascent`) inside the ball of radius `eps` around each image: away from the label y, or
    toward `target_B`.

    Starts at `start_BCHW` (within the ball, such as `random_start` draws), else at the image. Each step goes
    `step_size` along sign(grad) for linf, along grad/|grad| for l2, then back into the ball and into [0, 1].
    The last iterate counts, even if an earlier one was worse for the network. `eps` and `step_size` are in
    [0, 1] pixel units. Gradients reach the images only, never the parameters.
    """
    y_B = y_B.to(x_BCHW.device)
    target_B = None if target_B is None else target_B.to(x_BCHW.device)
    x_BCHW = quick(x_BCHW)
    adversarial_BCHW = x_BCHW if start_BCHW is None else quick(start_BCHW)
    zero_gradient_B = torch.zeros(len(x_BCHW), dtype=torch.bool, device=x_BCHW.device)
    for _ in range(steps):
        gradient_BCHW = gradient(logits_of, adversarial_BCHW, y_B, loss, target_B)
        zero_gradient_B |= ~gradient_BCHW.any(dim=(1, 2, 3))
        stepped_BCHW = adversarial_BCHW + step_size * _direction(gradient_BCHW, norm)
        adversarial_BCHW = project(stepped_BCHW, x_BCHW, norm=norm, eps=eps)
    return Attacked(adversarial_BCHW.detach(), zero_gradient_B)


def project(z_BCHW: Tensor, x_BCHW: Tensor, *, norm: Norm, eps: float) -> Tensor:
    """The point of the ball of radius `eps` around x nearest to z, then the nearest of [0, 1].

    The second step only comes closer to x, which lies in [0, 1], so the result is in both.
    """
    change_BCHW = z_BCHW - x_BCHW
    if norm == "linf":
        change_BCHW = change_BCHW.clamp(-eps, eps)
    else:
        length_B111 = _length(change_BCHW)
        change_BCHW = torch.where(length_B111 > eps, change_BCHW * (eps / length_B111), change_BCHW)
    return (x_BCHW + change_BCHW).clamp(0, 1)


def gradient(
    logits_of: Callable[[Tensor], Tensor],
    x_BCHW: Tensor,
    y_B: Tensor,
    loss: Loss | LossFunction = "cross_entropy",
    target_B: Tensor | None = None,
) -> Tensor:
    """What `search` follows, at the images, of their shape; what is not a number counts as 0."""
    with torch.enable_grad():
        x_BCHW = x_BCHW.detach().requires_grad_()
        total = ascent(loss, logits_of(x_BCHW), y_B, target_B).sum()
        (gradient_BCHW,) = torch.autograd.grad(total, x_BCHW)
    return gradient_BCHW.nan_to_num()


def _direction(gradient_BCHW: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return gradient_BCHW.sign()
    # Divided by the largest component first: squares of gradients below 1e-23 vanish in fp32.
    largest_B111 = gradient_BCHW.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled_BCHW = gradient_BCHW / torch.where(largest_B111 > 0, largest_B111, 1)
    return scaled_BCHW / _length(scaled_BCHW).clamp(min=1)


def _length(x_BCHW: Tensor) -> Tensor:
    length_B111: Tensor = torch.linalg.vector_norm(x_BCHW, dim=(1, 2, 3), keepdim=True)
    return length_B111
