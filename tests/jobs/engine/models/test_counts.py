"""Parameters and multiply-accumulates of the paper's networks, without a weight in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from experiments import costs, datasets, spec
from jobs.engine.models import CebModel, build

WRN_28_10 = spec.WideResNet(blocks=4, width=10)


def on_meta(network: object, data: str, objective: object = None) -> CebModel:
    run = spec.Run(
        data=spec.Data(name=data),
        network=network,
        objective=objective or spec.Xent(),
        optimiser=spec.Adam(),
        epochs=1,
        batch=1,
    )
    with torch.device("meta"):
        return build(run)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: CebModel, data: str) -> float:
    info = datasets.info(data)
    with FlopCounterMode(display=False) as counter:
        model.eval().classify(torch.empty(1, info.channels, info.size, info.size, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("network", "data", "millions", "gmacs"),
    [
        (spec.WideResNet(blocks=4, width=10, norm="batch"), "cifar10", 36.48, 5.24),
        (WRN_28_10, "cifar10", 36.46, 5.24),
        (spec.WideResNet(blocks=10, width=7, norm="batch"), "cifar10", 46.35, 6.74),
        (spec.ResNet(50), "imagenet", 25.56, 4.09),
        (spec.ResNet(152), "imagenet", 60.19, 11.51),
        (spec.ResNet(50, width=2), "imagenet", 98.0, 16.1),
        (spec.ResNet(152, width=2), "imagenet", 236, 45.8),
    ],
    ids=lambda value: str(value) if isinstance(value, spec.Section) else None,
)
def test_the_papers_networks_have_the_published_size(network: object, data: str, millions: float, gmacs: float) -> None:
    model = on_meta(network, data)
    digits = 2 if millions < 90 else 1 if millions < 100 else 0
    assert round(parameters(model) / 1e6, digits) == millions
    assert round(macs(model, data) / 1e9, 2 if gmacs < 16 else 1) == gmacs


@pytest.mark.parametrize(("depth", "theirs"), [(50, torchvision.models.resnet50), (152, torchvision.models.resnet152)])
def test_at_width_1_every_shape_is_torchvisions(depth: int, theirs: type[nn.Module]) -> None:
    with torch.device("meta"):
        reference = theirs()
    ours = on_meta(spec.ResNet(depth), "imagenet")
    shapes = [sorted(tuple(p.shape) for p in model.parameters()) for model in (ours, reference)]
    assert shapes[0] == shapes[1]


def test_width_doubles_z_and_every_layer_with_it() -> None:
    narrow, wide = (on_meta(spec.ResNet(50, width=width), "imagenet", spec.Ceb(rho=1.0)) for width in (1, 2))
    for (name, one), two in zip(narrow.network.named_parameters(), wide.network.parameters(), strict=True):
        assert two.shape[0] == 2 * one.shape[0], name
    assert wide.backward_encoder is not None
    assert wide.backward_encoder.kernel_KZ.shape == (1000, 4096)


@pytest.mark.parametrize(
    ("objective", "extra"),
    [
        # Class means 10 x 640 and a shared bias; twenty Gaussians of the marginal with their weights;
        # a linear classifier.
        (spec.Xent(), 6410),
        (spec.Vib(rho=1.0), 6410 + 12820),
        (spec.Ceb(rho=1.0), 6410 + 7040 + 12820),
        (spec.Cceb(rho=1.0), 7040 + 12820),
        (spec.Ceb(rho=1.0, marginal=spec.Marginal(components=30)), 6410 + 7040 + 30 * 641),
        # Two dense layers 640 -> 5; two of 11 x 5; mixtures with a weight, a mean and a deviation for each dimension.
        (
            spec.Ceb(rho=1.0, covariance="diagonal", bottleneck_dim=5, marginal=spec.Marginal(name="diagonal_mixture")),
            2 * 641 * 5 + 60 + 2 * 55 + 20 * 11,
        ),
        (
            spec.Vib(rho=1.0, covariance="full", bottleneck_dim=5, marginal=spec.Marginal(name="vamp", components=3)),
            641 * (5 + 15) + 60 + 3 * 3072,
        ),
    ],
)
def test_what_each_objective_adds_to_the_network(objective: Any, extra: int) -> None:
    model = on_meta(WRN_28_10, "cifar10", objective)
    assert parameters(model) - parameters(model.network) == extra
    run = spec.Run(
        data=spec.Data(name="cifar10"), network=WRN_28_10, objective=objective, optimiser=spec.Adam(), epochs=1, batch=8
    )
    assert sum(costs.head_parameters(run, costs.network_counts()[costs.count_key(run)])) == extra


def test_a_dense_layer_to_z_is_an_option() -> None:
    model = on_meta(spec.WideResNet(blocks=1, width=2, z_dim=16), "cifar10", spec.Ceb(rho=1.0))
    assert model.encode(torch.empty(3, 3, 32, 32, device="meta")).shape == (3, 16)
