"""The weights a run starts from: their laws, their seeds, and that networks without BatchNorm start well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import nn

from experiments import spec
from jobs.engine.metrics import EXPLODED
from jobs.engine.models import CebModel, build
from jobs.engine.models.resnet import Bottleneck, ResNet

CIFAR10 = spec.Data(name="cifar10")


def same(first: CebModel, second: CebModel, part: str) -> bool:
    a, b = (getattr(model, part).state_dict() for model in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_seed_gives_a_model_and_leaves_the_global_generator_alone(tiny: spec.Run) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(tiny)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build(tiny)
    for part in ("network", "classifier", "backward_encoder", "marginal"):
        assert same(first, second, part)


def test_objectives_of_one_seed_start_from_one_network(change: Callable[..., spec.Run]) -> None:
    ceb = build(change(objective=spec.Ceb(rho=1.0)))
    xent, cceb = build(change(objective=spec.Xent())), build(change(objective=spec.Cceb(rho=3.0)))
    assert same(ceb, xent, "network") and same(ceb, cceb, "network")
    assert same(ceb, xent, "classifier") and same(ceb, cceb, "backward_encoder")
    assert not same(ceb, build(change(objective=spec.Ceb(rho=1.0), seed=1)), "network")


def test_fp64_starts_from_the_same_weights(change: Callable[..., spec.Run]) -> None:
    single, double = build(change()), build(change(precision="fp64"))
    for one, two in zip(single.parameters(), double.parameters(), strict=True):
        assert two.dtype == torch.float64
        assert torch.equal(one.double(), two)


def plain_sample(weight: torch.Tensor, std: float) -> torch.Tensor:
    return (weight.detach().flatten() / std)[:20_000]


def test_the_head_starts_as_the_listing_does(change: Callable[..., spec.Run]) -> None:
    model = build(change(network=spec.SmallCnn(width=2, z_dim=2000)))
    assert model.backward_encoder is not None
    glorot = (6 / (10 + 2000)) ** 0.5
    kernel = model.backward_encoder.kernel_KZ.detach().flatten().numpy()
    assert stats.kstest(kernel, "uniform", args=(-glorot, 2 * glorot)).pvalue > 1e-3
    assert stats.kstest(plain_sample(model.classifier.weight, 0.01).numpy(), "norm").pvalue > 1e-3
    assert not model.backward_encoder.bias_Z.any() and not model.classifier.bias.any()


def test_resnet_starts_as_the_tpu_code_does() -> None:
    network = ResNet(spec.ResNet(50), 3)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in (convolutions[0], convolutions[-1]):
        fan_in = convolution.weight[0].numel()
        # tf.variance_scaling_initializer(): a normal law cut off at two standard deviations, of variance 1/fan_in.
        drawn = plain_sample(convolution.weight, fan_in**-0.5 / 0.87962566103423978)
        assert stats.kstest(drawn.numpy(), stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
        assert convolution.weight.detach().var() * fan_in == pytest.approx(1, rel=0.05)
    for block in network.blocks:
        assert isinstance(block, Bottleneck)
        assert not list(block.added)[-1].weight.any()
    norm = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    assert (norm.momentum, norm.eps) == (0.1, 1e-5)


def test_the_stride_is_on_the_3x3() -> None:
    network = ResNet(spec.ResNet(50), 3)
    strided = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert strided == [(7, 7), *[(3, 3), (1, 1)] * 3]  # the stem, then a group's 3x3 and its shortcut


def half_square(init: str) -> float:
    """1/2 |f|^2 of the untrained 28x10 without a norm on images of normal numbers, in nats."""
    run = spec.Run(
        data=CIFAR10,
        network=spec.WideResNet(blocks=4, width=10, init=init),
        objective=spec.Xent(),
        optimiser=spec.Adam(),
        epochs=1,
        batch=2,
    )
    with torch.no_grad():
        x_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        f_BZ = build(run).network(x_BCHW)
    return 0.5 * float(f_BZ.square().sum(dim=1).mean())


def test_without_batch_norm_the_plain_init_explodes_at_28x10_and_the_scaled_does_not() -> None:
    assert half_square("plain") > 1e5
    assert 1 < half_square("scaled") < 1e4 < EXPLODED
