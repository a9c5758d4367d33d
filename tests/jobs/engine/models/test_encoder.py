"""Encoders with a learned covariance and the marginals that go with them, against torch.distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec import UNSET
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from experiments import spec
from jobs.engine import objectives
from jobs.engine.models import CebModel, build
from jobs.engine.models.encoder import DiagonalEncoder, Encoder, FullEncoder
from jobs.engine.models.marginal import VampMarginal

LEARNED = ["diagonal", "full"]


@pytest.fixture
def model_of(change: Callable[..., spec.Run]) -> Callable[..., CebModel]:
    """Build a model of an objective in float64, its weights moved away from where they start."""

    def make(objective: spec.Objective, **fields: Any) -> CebModel:
        model = build(change(objective=objective, precision="fp64", **fields))
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        return model

    return make


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def distribution(model: CebModel, encoding_BP: Tensor) -> Any:
    encoder, mean_BZ = model.encoder, model.mean_of(encoding_BP)
    if isinstance(encoder, DiagonalEncoder):
        return Independent(Normal(mean_BZ, encoder.scales(encoding_BP)), 1)
    assert isinstance(encoder, FullEncoder)
    return MultivariateNormal(mean_BZ, scale_tril=encoder.factors(encoding_BP))


def vib(covariance: Any, **fields: Any) -> spec.Vib:
    return spec.Vib(rho=1.0, covariance=covariance, bottleneck_dim=3, **fields)


@pytest.mark.parametrize("covariance", LEARNED)
def test_a_sample_has_the_density_and_the_moments_of_its_distribution(
    model_of: Callable[..., CebModel], covariance: str
) -> None:
    model = model_of(vib(covariance))
    encoding_BP = model(images(2))
    expected = distribution(model, encoding_BP)
    noise_nBZ = torch.randn(100_000, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z_nBZ = model.sample(encoding_BP, noise_nBZ)
    assert torch.allclose(model.log_encoder(z_nBZ[0], encoding_BP), expected.log_prob(z_nBZ[0]))
    assert torch.allclose(model.encode(images(2)), expected.mean)
    covariances = torch.stack([torch.cov(z_nBZ[:, row].T) for row in range(2)])
    matrices = torch.diag_embed(expected.variance) if covariance == "diagonal" else expected.covariance_matrix
    assert torch.allclose(covariances, matrices, atol=0.03 * matrices.max().item())


@pytest.mark.parametrize("covariance", LEARNED)
def test_vib_under_a_fixed_gaussian_is_the_closed_form_of_its_rate(
    model_of: Callable[..., CebModel], covariance: str
) -> None:
    """Its gradient too: the mean over many draws of log e - log m is KL(e | N(0, I)) (Kingma & Welling, 2014)."""
    model = model_of(vib(covariance))
    encoding_BP = model(images(2)).detach().requires_grad_()
    prior = Independent(Normal(torch.zeros(3).double(), 1.0), 1)
    closed = kl_divergence(distribution(model, encoding_BP), prior if covariance == "diagonal" else MultivariateNormal(
        torch.zeros(3).double(), torch.eye(3).double())).sum()  # fmt: skip
    (slope_BP,) = torch.autograd.grad(closed, encoding_BP)
    draws = 200_000
    many_BP = encoding_BP.repeat(draws, 1)
    noise_BZ = torch.randn(2 * draws, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z_BZ = model.sample(many_BP, noise_BZ)
    sampled = (model.log_encoder(z_BZ, many_BP) - prior.log_prob(z_BZ)).sum() / draws
    (sampled_slope_BP,) = torch.autograd.grad(sampled, encoding_BP)
    assert sampled.item() == pytest.approx(closed.item(), rel=0.02)
    assert torch.allclose(sampled_slope_BP, slope_BP, atol=0.03)


@pytest.mark.parametrize("covariance", LEARNED)
def test_every_image_begins_with_the_initial_scale(change: Callable[..., spec.Run], covariance: str) -> None:
    model = build(change(objective=vib(covariance, initial_scale=0.1)))
    assert isinstance(model.encoder, Encoder)
    noise_BZ = torch.randn(6, 3)
    encoding_BP = model(images().float())
    assert torch.allclose(model.sample(encoding_BP, noise_BZ), model.mean_of(encoding_BP) + 0.1 * noise_BZ, atol=1e-6)


@pytest.mark.parametrize("kind", [spec.Ceb, spec.Cceb])
def test_a_backward_encoder_with_variances_is_a_gaussian_of_its_class(
    model_of: Callable[..., CebModel], kind: Any
) -> None:
    model = model_of(kind(rho=1.0, covariance="diagonal", bottleneck_dim=3))
    assert model.backward_encoder is not None
    scales_KZ = model.backward_encoder.scales()
    assert scales_KZ is not None
    of_classes = Independent(Normal(model.backward_encoder.means(), scales_KZ), 1)
    z_BZ, y_B = model.encode(images()), torch.arange(6)
    log_b_BK = of_classes.log_prob(z_BZ[:, None])
    assert torch.allclose(model.log_backward_encoder(z_BZ, y_B), log_b_BK[torch.arange(6), y_B])
    shares_BK = torch.rand(6, 10, dtype=torch.float64).softmax(dim=1)
    assert torch.allclose(model.log_backward_encoder(z_BZ, shares_BK), (shares_BK * log_b_BK).sum(dim=1))
    if kind is spec.Cceb:
        assert torch.allclose(model.logits(z_BZ).softmax(dim=1), log_b_BK.softmax(dim=1))


def test_residual_information_is_the_divergence_of_the_two_encoders(model_of: Callable[..., CebModel]) -> None:
    model = model_of(spec.Ceb(rho=1.0, covariance="diagonal", bottleneck_dim=3))
    assert model.backward_encoder is not None
    encoding_BP, y_B = model(images(2)).detach(), torch.tensor([4, 7])
    of_classes = Independent(Normal(model.backward_encoder.means()[y_B], model.backward_encoder.scales()[y_B]), 1)  # type: ignore[index]
    closed = kl_divergence(distribution(model, encoding_BP), of_classes).mean()
    many_BP, many_B = encoding_BP.repeat(100_000, 1), y_B.repeat(100_000)
    noise_BZ = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    terms = objectives.from_spec(spec.Ceb(rho=1.0)).loss(model, many_BP, model.sample(many_BP, noise_BZ), many_B, 0.5)
    assert terms.residual_information is not None
    assert terms.residual_information.item() == pytest.approx(closed.item(), rel=0.02)


def test_a_diagonal_mixture_is_that_of_torch(model_of: Callable[..., CebModel]) -> None:
    model = model_of(
        vib(UNSET, marginal=spec.Marginal(name="diagonal_mixture", components=4)), network=spec.SmallCnn(z_dim=3)
    )
    marginal: Any = model.marginal
    scales_MZ = torch.nn.functional.softplus(marginal.raw_scales_MZ + torch.expm1(torch.tensor(1.0).double()).log())
    components = Independent(Normal(marginal.means_MZ, scales_MZ), 1)
    expected = MixtureSameFamily(Categorical(logits=marginal.logits_M), components)
    z_BZ = 2 * torch.randn(6, 3, dtype=torch.float64)
    assert torch.allclose(model.log_marginal(z_BZ), expected.log_prob(z_BZ))


@pytest.mark.parametrize("covariance", [UNSET, *LEARNED])
def test_vampprior_is_the_mixture_of_encodings_of_its_images(
    model_of: Callable[..., CebModel], covariance: Any
) -> None:
    model = model_of(vib(covariance, marginal=spec.Marginal(name="vamp", components=4)), network=spec.SmallCnn(z_dim=3))
    assert isinstance(model.marginal, VampMarginal)
    encoding_MP = model(model.marginal.images())
    unit = Independent(Normal(encoding_MP, 1.0), 1)
    components = distribution(model, encoding_MP) if covariance else unit
    z_BZ = model.encode(images()).detach()
    expected_B = MixtureSameFamily(Categorical(logits=torch.zeros(4).double()), components).log_prob(z_BZ)
    assert torch.allclose(model.log_marginal(z_BZ), expected_B)
    assert torch.allclose(model.log_marginal_alone(z_BZ), expected_B)
    expected_B.sum().backward()
    whole = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    for density, reached in ((model.log_marginal, False), (model.log_marginal_alone, True)):
        model.zero_grad()
        density(z_BZ).sum().backward()
        for name, parameter in model.named_parameters():
            if name.startswith("marginal.") is reached and name in whole:
                assert parameter.grad is not None and torch.allclose(parameter.grad, whole[name]), name
            else:
                assert parameter.grad is None or not parameter.grad.any(), name
