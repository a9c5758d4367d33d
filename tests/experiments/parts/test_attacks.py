"""The attacks in experiments/parts/ on a trained objective's terms and on multiplied logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.parts.bottleneck_attack import bottleneck_attack
from experiments.parts.scaled_cross_entropy import scaled_cross_entropy


class Line:
    """z is the one pixel; class 1 is above 1/2. b(z|y) is around y, m(z) around 1."""

    def classify(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        return torch.cat([0.5 - z, z - 0.5], 1)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def log_backward_encoder(self, z: Tensor, y: Tensor) -> Tensor:
        return -((z[:, 0] - y) ** 2) / 2

    def log_marginal(self, z: Tensor) -> Tensor:
        return -((z[:, 0] - 1) ** 2) / 2


class Draws:
    def uniform(self, *shape: int) -> Tensor:
        return torch.full((4, *shape), 0.5)


IMAGES, LABELS = torch.tensor([0.3, 0.45, 0.55, 0.7]).reshape(4, 1, 1, 1), torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("target", "right"),
    [("backward_encoder", [True, False, False, True]), ("rate", [True, True, False, True])],
)
def test_it_leaves_the_class_or_the_marginal_within_the_ball(target: Any, right: list[bool]) -> None:
    """0.1 reaches over the border at 1/2 from 0.45 and 0.55; away from the marginal is down for every image."""
    assert bottleneck_attack(Line(), IMAGES, LABELS, Draws(), eps=0.1, target=target).tolist() == right
    assert all(bottleneck_attack(Line(), IMAGES, LABELS, Draws(), eps=0.01, target=target))


def test_a_large_factor_leaves_no_gradient() -> None:
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    for scale, is_zero in ((1.0, False), (100.0, True)):
        (gradient,) = torch.autograd.grad(scaled_cross_entropy(logits, torch.tensor([0]), scale).sum(), logits)
        assert bool((gradient == 0).all()) is is_zero
