"""Steps against the update rules written out, and what weight decay reaches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments import spec
from jobs.engine.models import CebModel, build
from jobs.engine.training import optimisers

LRS = (0.1, 0.02, 0.05)


def wide_resnet(change: Callable[..., spec.Run], objective: object) -> CebModel:
    network = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)
    return build(change(network=network, objective=objective, precision="fp64"))


def steps(model: CebModel, optimiser: torch.optim.Optimizer) -> None:
    """Steps along gradients that are known: the cosine of the weight."""
    for lr in LRS:
        for parameter in model.parameters():
            parameter.grad = parameter.detach().cos()
        optimisers.set_lr(optimiser, lr)
        optimiser.step()


def by_sgd(w: Tensor, wd: float, momentum: float) -> Tensor:
    velocity = torch.zeros_like(w)
    for lr in LRS:
        gradient = w.cos() + wd * w
        velocity = momentum * velocity + gradient
        w = w - lr * (gradient + momentum * velocity)
    return w


def by_adam(w: Tensor, wd: float) -> Tensor:
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step, lr in enumerate(LRS, 1):
        gradient = w.cos() + wd * w
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        w = w - lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return w


@pytest.mark.parametrize(
    ("optimiser", "rule"),
    [
        (spec.Sgd(lr=0.1, weight_decay=0.3), lambda w, wd: by_sgd(w, wd, 0.9)),
        (spec.Sgd(lr=0.1, momentum=0.0, weight_decay=0.3), lambda w, wd: by_sgd(w, wd, 0.0)),
        (spec.Adam(weight_decay=0.3), by_adam),
    ],
)
def test_a_step_is_the_rule_with_l2_on_all_but_batch_norm_and_none_on_the_marginal(
    change: Callable[..., spec.Run], optimiser: spec.Adam | spec.Sgd, rule: Callable[[Tensor, float], Tensor]
) -> None:
    model = wide_resnet(change, spec.Ceb(rho=1.0))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    steps(model, optimisers.build(optimiser, model))
    after = dict(model.named_parameters())
    assert {"backward_encoder.kernel_KZ", "backward_encoder.bias_Z", "classifier.weight"} <= after.keys()
    for name, weight in before.items():
        if name.startswith("marginal"):
            expected = weight
        else:
            norm = "activate" in name or ".last." in name
            expected = rule(weight, 0.0 if norm else 0.3)
        torch.testing.assert_close(after[name], torch.nn.Parameter(expected), rtol=1e-10, atol=1e-12, msg=name)


def test_batch_norm_was_seen(change: Callable[..., spec.Run]) -> None:
    names = {name for name, _ in wide_resnet(change, spec.Xent()).named_parameters()}
    assert {"network.last.0.weight", "network.blocks.0.activate_1.0.bias"} <= names
