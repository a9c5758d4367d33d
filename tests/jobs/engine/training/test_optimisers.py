"""Steps against the update rules written out, and what weight decay reaches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from msgspec import structs
from torch import Tensor

from experiments import costs, spec
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


def by_heavy_ball(w: Tensor, wd: float) -> Tensor:
    velocity = torch.zeros_like(w)
    for lr in LRS:
        velocity = 0.9 * velocity + w.cos() + wd * w
        w = w - lr * velocity
    return w


def by_adamw(w: Tensor, wd: float) -> Tensor:
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step, lr in enumerate(LRS, 1):
        first, second = 0.5 * first + 0.5 * w.cos(), 0.9 * second + 0.1 * w.cos().square()
        w = w - lr * wd * w - lr * (first / (1 - 0.5**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-3)
    return w


def by_tensorflows_rmsprop(w: Tensor, wd: float) -> Tensor:
    square, velocity = torch.ones_like(w), torch.zeros_like(w)
    for lr in LRS:
        gradient = w.cos() + wd * w
        square = 0.9 * square + 0.1 * gradient.square()
        velocity = 0.8 * velocity + lr * gradient / (square + 0.01).sqrt()
        w = w - velocity
    return w


@pytest.mark.parametrize(
    ("optimiser", "rule"),
    [
        (spec.Sgd(lr=0.1, weight_decay=0.3, nesterov=False), by_heavy_ball),
        (spec.AdamW(weight_decay=0.3, beta1=0.5, beta2=0.9, epsilon=1e-3), by_adamw),
        (
            spec.RmsProp(weight_decay=0.3, square_decay=0.9, momentum=0.8, epsilon=0.01, form="tensorflow"),
            by_tensorflows_rmsprop,
        ),
        (spec.Sgd(lr=0.1, weight_decay=0.3), lambda w, wd: by_sgd(w, wd, 0.9)),
        (spec.Sgd(lr=0.1, momentum=0.0, weight_decay=0.3), lambda w, wd: by_sgd(w, wd, 0.0)),
        (spec.Adam(weight_decay=0.3), by_adam),
    ],
)
def test_a_step_is_the_rule_with_l2_on_all_but_batch_norm_and_none_on_the_marginal(
    change: Callable[..., spec.Run], optimiser: spec.Optimiser, rule: Callable[[Tensor, float], Tensor]
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


def test_weight_decay_on_kernels_alone_leaves_biases_and_scales(change: Callable[..., spec.Run]) -> None:
    model = wide_resnet(change, spec.Ceb(rho=1.0))
    optimiser = optimisers.build(spec.AdamW(weight_decay=0.3), model, only_kernels=True)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = ({names[id(p)] for p in group["params"]} for group in optimiser.param_groups)
    assert {"classifier.weight", "backward_encoder.kernel_KZ", "network.stem.weight"} <= decayed
    assert {"classifier.bias", "backward_encoder.bias_Z", "network.last.0.weight"} <= plain
    assert decayed | plain == {name for name in names.values() if not name.startswith("marginal")}
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]


def test_batch_norm_was_seen(change: Callable[..., spec.Run]) -> None:
    names = {name for name, _ in wide_resnet(change, spec.Xent()).named_parameters()}
    assert {"network.last.0.weight", "network.blocks.0.activate_1.0.bias"} <= names


TORCHS: list[tuple[spec.Optimiser, type[torch.optim.Optimizer], dict[str, Any]]] = [
    (spec.Adamax(), torch.optim.Adamax, {}),
    (spec.NAdam(), torch.optim.NAdam, {}),
    (spec.NAdam(decoupled=True), torch.optim.NAdam, {"decoupled_weight_decay": True}),
    (spec.NAdam(momentum_decay=0.1), torch.optim.NAdam, {"momentum_decay": 0.1}),
    (spec.RAdam(beta2=0.9), torch.optim.RAdam, {"betas": (0.9, 0.9)}),
    (spec.RAdam(decoupled=True), torch.optim.RAdam, {"decoupled_weight_decay": True}),
    (spec.RmsProp(), torch.optim.RMSprop, {}),
    (spec.RmsProp(square_decay=0.7, epsilon=0.1), torch.optim.RMSprop, {"alpha": 0.7, "eps": 0.1}),
    (spec.RmsProp(momentum=0.9), torch.optim.RMSprop, {"momentum": 0.9}),
    (spec.Adagrad(), torch.optim.Adagrad, {}),
    (spec.Adagrad(lr_decay=0.1), torch.optim.Adagrad, {"lr_decay": 0.1}),
    (spec.Adagrad(initial_square=0.5), torch.optim.Adagrad, {"initial_accumulator_value": 0.5}),
    (spec.Adadelta(), torch.optim.Adadelta, {}),
    (spec.Adadelta(square_decay=0.5), torch.optim.Adadelta, {"rho": 0.5}),
]


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(("optimiser", "torchs", "arguments"), TORCHS)
def test_fields_reach_torchs_optimiser(
    change: Callable[..., spec.Run], optimiser: spec.Optimiser, torchs: Any, arguments: dict[str, Any], decay: float
) -> None:
    """Its defaults too: torch's, where a field is not set."""
    model = build(change(objective=spec.Xent(), precision="fp64"))
    reference = copy.deepcopy(model)
    steps(model, optimisers.build(structs.replace(optimiser, weight_decay=decay), model))
    steps(reference, torchs(reference.parameters(), lr=optimiser.lr, weight_decay=decay, foreach=False, **arguments))
    for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("update", ["fused", "foreach", "for-loop"])
@pytest.mark.parametrize("kind", get_args(spec.Optimiser))
def test_costs_count_what_an_optimiser_keeps_and_a_restored_one_goes_on(
    change: Callable[..., spec.Run], kind: type[spec.Sgd], update: optimisers.Update
) -> None:
    run = change(objective=spec.Xent(), optimiser=kind(lr=0.1))
    model = build(run)
    optimiser = optimisers.build(run.optimiser, model, update)
    steps(model, optimiser)
    kept = sum(
        t.numel() for state in optimiser.state.values() for t in state.values() if torch.is_tensor(t) and t.dim()
    )
    assert kept == costs.slots(run) * sum(parameter.numel() for parameter in model.parameters())
    other = copy.deepcopy(model)
    restored = optimisers.build(run.optimiser, other, update)
    optimisers.restore(restored, copy.deepcopy(optimiser.state_dict()))
    for each, its in ((model, optimiser), (other, restored)):
        steps(each, its)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_gradient_is_scaled_to_the_norm_but_not_the_marginals(change: Callable[..., spec.Run]) -> None:
    model = build(change(precision="fp64"))
    optimiser = optimisers.build(spec.Adam(), model)
    for parameter in model.parameters():
        parameter.grad = parameter.detach().cos()
    clipped = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert model.marginal is not None
    before = [parameter.grad.clone() for parameter in clipped if parameter.grad is not None]
    norm = torch.cat([gradient.flatten() for gradient in before]).norm()
    for limit, factor in ((1e6, 1.0), (0.5, 0.5 / norm)):
        optimisers.clip_norm(optimiser, limit)
        for parameter, gradient in zip(clipped, before, strict=True):
            torch.testing.assert_close(parameter.grad, gradient * factor, rtol=1e-5, atol=0)
    assert all(torch.equal(parameter.grad, parameter.detach().cos()) for parameter in model.marginal.parameters())
