"""What an attack climbs, for each image. Shapes: B images, K classes.

Away from the label y, or toward a target t:

    cross_entropy   -log softmax(z)_y                                   log softmax(z)_t
    margin          max_{j≠y} z_j - z_y                                 z_t - max_{j≠t} z_j
    dlr             (max_{j≠y} z_j - z_y) / (z_π1 - z_π3)               (z_t - z_y) / (z_π1 - (z_π3 + z_π4)/2)

with z_π1 ≥ z_π2 ≥ …: the margin of Carlini & Wagner (2017), the difference-of-logits ratio of Croce & Hein (2020,
eqs. 5 and 6). The last two don't fade as a confident network's cross-entropy does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.benchmarks import Loss

_TINY = 1e-12
"""As in the authors' implementation of the ratio."""


LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(logits_BK, y_B) to what an attack climbs, of shape (B,)."""


def ascent(loss: Loss | LossFunction, logits_BK: Tensor, y_B: Tensor, target_B: Tensor | None = None) -> Tensor:
    """The value to be climbed, of shape (B,); ValueError if the ratio is asked for with too few classes."""
    if callable(loss):
        return loss(logits_BK, y_B)
    if loss == "cross_entropy":
        if target_B is None:
            return cross_entropy(logits_BK, y_B, reduction="none")
        return -cross_entropy(logits_BK, target_B, reduction="none")
    if loss == "margin":
        return -_margin(logits_BK, y_B) if target_B is None else _margin(logits_BK, target_B)
    return _ratio(logits_BK, y_B, target_B)


def _margin(logits_BK: Tensor, of_B: Tensor) -> Tensor:
    """A class's logit over the largest of the others."""
    own_BK = torch.nn.functional.one_hot(of_B, logits_BK.shape[1]).bool()
    return _logit(logits_BK, of_B) - logits_BK.masked_fill(own_BK, -torch.inf).amax(dim=1)


def _ratio(logits_BK: Tensor, y_B: Tensor, target_B: Tensor | None) -> Tensor:
    needed = 3 if target_B is None else 4
    if logits_BK.shape[1] < needed:
        raise ValueError(f"the difference-of-logits ratio needs {needed} classes")
    top_B4 = logits_BK.topk(needed, dim=1).values
    if target_B is None:
        return -_margin(logits_BK, y_B) / (top_B4[:, 0] - top_B4[:, 2] + _TINY)
    spread_B = top_B4[:, 0] - 0.5 * (top_B4[:, 2] + top_B4[:, 3])
    return (_logit(logits_BK, target_B) - _logit(logits_BK, y_B)) / (spread_B + _TINY)


def _logit(logits_BK: Tensor, of_B: Tensor) -> Tensor:
    return logits_BK.gather(1, of_B[:, None])[:, 0]
