"""Properties of the model that its users rely on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from experiments import datasets, spec
from jobs.engine.models import build
from jobs.engine.models.gaussian import log_normal
from jobs.engine.models.marginal import MixtureMarginal
from jobs.engine.precision import encode


def test_absent_distributions_are_absent(change: Callable[..., spec.Run]) -> None:
    xent, vib = build(change(objective=spec.Xent())), build(change(objective=spec.Vib(rho=1.0)))
    assert xent.backward_encoder is xent.marginal is vib.backward_encoder is None
    z_BZ = torch.zeros(2, 4)
    with pytest.raises(ValueError, match="no backward encoder"):
        vib.log_backward_encoder(z_BZ, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no marginal"):
        xent.log_marginal(z_BZ)
    with pytest.raises(ValueError, match="no marginal"):
        xent.log_marginal_alone(z_BZ)


def test_pixels_are_normalised_inside_the_model(tiny: spec.Run) -> None:
    info = datasets.info("digits")
    model = build(tiny)
    at_mean_BCHW = torch.full((1, 1, 8, 8), info.mean[0])
    assert model.normalise(at_mean_BCHW).abs().max() < 1e-6
    assert model.normalise(at_mean_BCHW + info.std[0]).mean() == pytest.approx(1, abs=1e-5)


@given(st.integers(1, 6), st.floats(-30, 30))
def test_the_density_of_one_gaussian_integrates_to_one(dimensions: int, shift: float) -> None:
    # Along a line through the mean the density is a one-dimensional Gaussian times a constant.
    t = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    mean = torch.full((dimensions,), shift, dtype=torch.float64)
    z = mean + t[:, None] / math.sqrt(dimensions)
    line = torch.trapezoid(log_normal(z, mean).exp(), t)
    assert float(line) == pytest.approx((2 * math.pi) ** (-(dimensions - 1) / 2), rel=1e-9)


def test_k_components_reach_the_rate_ln_k_of_k_separate_points() -> None:
    """What one Gaussian cannot: from its own start, the mixture finds ten points and weighs them equally."""
    torch.manual_seed(0)
    points_KZ = 8 * torch.eye(10, 16)
    marginal = MixtureMarginal(10, 16)
    optimiser = torch.optim.Adam(marginal.parameters(), lr=0.05)
    for _ in range(600):
        z_BZ = points_KZ.repeat(10, 1) + torch.randn(100, 16)
        optimiser.zero_grad()
        (-marginal.log_prob(z_BZ).mean()).backward()
        optimiser.step()
    f_BZ = points_KZ.repeat(200, 1)
    z_BZ = f_BZ + torch.randn(2000, 16)
    rate = (log_normal(z_BZ, f_BZ) - marginal.log_prob(z_BZ)).mean()
    assert float(rate.detach()) == pytest.approx(math.log(10), abs=0.15)


def test_bf16_is_the_networks_alone(change: Callable[..., spec.Run]) -> None:
    run = change(precision="bf16", network=spec.SmallCnn(width=8, z_dim=4))
    model = build(run)
    x_BCHW = torch.rand(16, 1, 8, 8)
    rounded_BZ = encode(model, run, x_BCHW)
    exact_BZ = model.encode(x_BCHW)
    assert rounded_BZ.dtype == model.logits(rounded_BZ).dtype == torch.float32
    error = float(mse_loss(rounded_BZ, exact_BZ).detach() / exact_BZ.detach().square().mean()) ** 0.5
    assert 1e-5 < error < 3e-2
    assert torch.equal(model.encode(x_BCHW), exact_BZ)  # and evaluation, outside `precision.encode`, is fp32


def test_bf16_sees_weights_that_changed_inside_an_outer_context(change: Callable[..., spec.Run]) -> None:
    run = change(precision="bf16")
    model = build(run)
    x_BCHW = torch.rand(4, 1, 8, 8)
    with torch.autocast("cpu", enabled=False):
        before_BZ = encode(model, run, x_BCHW)
        with torch.no_grad():
            for parameter in model.network.parameters():
                parameter *= 2
        assert not torch.equal(encode(model, run, x_BCHW), before_BZ)
