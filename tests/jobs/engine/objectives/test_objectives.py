"""Values and gradients against torch.distributions, written after the paper's Listing 3, and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import one_hot

from experiments import spec
from jobs.engine import objectives
from jobs.engine.models import CebModel, build
from jobs.engine.objectives import Terms

K, Z, B = 10, 4, 32
GAMMA = math.exp(-1)
EXACT = {"rtol": 1e-10, "atol": 1e-10}
ALL = [spec.Xent(), spec.Vib(rho=1.0), spec.Ceb(rho=1.0), spec.Cceb(rho=1.0)]
COUNTS_K = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])


@dataclass
class Batch:
    """A model and what it is given."""

    model: CebModel
    f_BZ: Tensor
    """A leaf, so that gradients with respect to it can be read."""
    eps_BZ: Tensor
    y_B: Tensor

    @property
    def z_BZ(self) -> Tensor:
        return self.f_BZ + self.eps_BZ


@pytest.fixture
def batch(change: Callable[..., spec.Run]) -> Callable[[object], Batch]:
    def made(objective: object) -> Batch:
        generator = torch.Generator().manual_seed(5)
        model = build(change(objective=objective, precision="fp64"))
        for parameter in model.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        f_BZ = torch.randn(B, Z, generator=generator, dtype=torch.float64).mul_(2).requires_grad_()
        eps_BZ = torch.randn(B, Z, generator=generator, dtype=torch.float64)
        return Batch(model, f_BZ, eps_BZ, torch.randint(K, (B,), generator=generator))

    return made


def terms(batch: Batch, objective: object, gamma: float = GAMMA) -> Terms:
    chosen = objectives.from_spec(objective)
    z_BZ = batch.z_BZ if chosen.noisy else batch.f_BZ
    return chosen.loss(batch.model, batch.f_BZ, z_BZ, batch.y_B, gamma)


def unit(mean: Tensor) -> Independent:
    return Independent(Normal(mean, torch.ones_like(mean)), 1)


def mixture(model: CebModel) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=model.marginal.logits_M), unit(model.marginal.means_MZ))


def listing_3(batch: Batch, objective: object) -> dict[str, Tensor]:
    """The loss and its parts as the paper's code has them: means over the batch."""
    model, y_B = batch.model, batch.y_B
    ezx = unit(batch.f_BZ)
    z_BZ = batch.f_BZ if isinstance(objective, spec.Xent) else batch.z_BZ
    parts: dict[str, Tensor] = {}
    if isinstance(objective, spec.Ceb | spec.Cceb):
        y_onehot = one_hot(y_B, 10).double()
        bzy = unit(y_onehot @ model.backward_encoder.kernel_KZ + model.backward_encoder.bias_Z)
        parts["residual_information"] = (ezx.log_prob(z_BZ) - bzy.log_prob(z_BZ)).mean()
    if isinstance(objective, spec.Cceb):
        every = unit(model.backward_encoder.kernel_KZ + model.backward_encoder.bias_Z)
        joint_BK = every.log_prob(z_BZ[:, None]) + (COUNTS_K.double() / COUNTS_K.sum()).log()
        cyz = Categorical(logits=joint_BK)
    else:
        cyz = Categorical(logits=z_BZ @ model.classifier.weight.T + model.classifier.bias)
    parts["conditional_entropy"] = -cyz.log_prob(y_B).mean()
    if not isinstance(objective, spec.Xent):
        parts["rate"] = (ezx.log_prob(z_BZ) - mixture(model).log_prob(z_BZ)).mean()
    bottleneck = parts.get("residual_information", parts.get("rate", torch.zeros(())))
    parts["loss"] = parts["conditional_entropy"] + (0 if isinstance(objective, spec.Xent) else GAMMA) * bottleneck
    return parts


@pytest.mark.parametrize("objective", ALL, ids=lambda objective: type(objective).__name__)
def test_values_and_gradients_are_those_of_listing_3(batch: Callable[[object], Batch], objective: object) -> None:
    given = batch(objective)
    if isinstance(objective, spec.Cceb):
        given.model.classifier.set_label_counts(COUNTS_K)
    ours, theirs = terms(given, objective), listing_3(given, objective)
    assert ours.values().keys() == theirs.keys()
    for name, value in ours.values().items():
        torch.testing.assert_close(value, theirs[name], **EXACT, msg=name)
    # The marginal has a loss of its own, so it is no part of what the objective's gradient reaches.
    learnt = [
        weight for name, weight in given.model.named_parameters() if name.split(".")[0] not in ("marginal", "network")
    ]
    wanted = [given.f_BZ, *learnt]
    for mine, other in zip(
        torch.autograd.grad(ours.loss, wanted), torch.autograd.grad(theirs["loss"], wanted), strict=True
    ):
        torch.testing.assert_close(mine, other, **EXACT)


def test_the_bracket_of_ceb_is_the_closed_form(batch: Callable[[object], Batch]) -> None:
    given = batch(spec.Ceb(rho=1.0))
    apart_BZ = given.f_BZ - given.model.backward_encoder.means()[given.y_B]
    closed = 0.5 * (apart_BZ * (apart_BZ + 2 * given.eps_BZ)).sum(dim=1).mean()
    torch.testing.assert_close(terms(given, spec.Ceb(rho=1.0)).residual_information, closed, **EXACT)


def test_its_mean_over_eps_is_half_the_squared_distance(batch: Callable[[object], Batch]) -> None:
    given = batch(spec.Ceb(rho=1.0))
    apart_BZ = given.f_BZ - given.model.backward_encoder.means()[given.y_B]
    # The bracket is linear in eps, so eps and -eps average to its mean exactly.
    there = terms(given, spec.Ceb(rho=1.0)).residual_information
    given.eps_BZ = -given.eps_BZ
    back = terms(given, spec.Ceb(rho=1.0)).residual_information
    torch.testing.assert_close((there + back) / 2, 0.5 * apart_BZ.square().sum(dim=1).mean(), **EXACT)


def test_gradients_flow_through_z(batch: Callable[[object], Batch]) -> None:
    given = batch(spec.Ceb(rho=1.0))
    (through,) = torch.autograd.grad(terms(given, spec.Ceb(rho=1.0), gamma=0.0).loss, given.f_BZ)
    weight_KZ = given.model.classifier.weight
    chance_BK = given.model.logits(given.z_BZ).softmax(dim=1)
    expected = (chance_BK - one_hot(given.y_B, 10)) @ weight_KZ / len(given.y_B)
    torch.testing.assert_close(through, expected, **EXACT)
    assert through.abs().min() > 0


@pytest.mark.parametrize("objective", ALL[1:], ids=lambda objective: type(objective).__name__)
def test_no_objective_trains_the_marginal_and_the_marginal_trains_nothing_else(
    batch: Callable[[object], Batch], objective: object
) -> None:
    given = batch(objective)
    model = given.model
    terms(given, objective).loss.backward()
    assert all(parameter.grad is None for parameter in model.marginal.parameters())
    assert given.f_BZ.grad is not None

    model.zero_grad()
    given.f_BZ.grad = None
    (-model.log_marginal_alone(given.z_BZ).mean()).backward()
    assert given.f_BZ.grad is None
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {"marginal.means_MZ", "marginal.logits_M"}


@pytest.mark.parametrize("objective", ALL[1:], ids=lambda objective: type(objective).__name__)
def test_the_marginal_learns_by_maximum_likelihood(batch: Callable[[object], Batch], objective: object) -> None:
    given = batch(objective)
    wanted = list(given.model.marginal.parameters())
    theirs = -mixture(given.model).log_prob(given.z_BZ).mean()
    for mine, other in zip(
        torch.autograd.grad(-given.model.log_marginal_alone(given.z_BZ).mean(), wanted),
        torch.autograd.grad(theirs, wanted),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **EXACT)


def test_the_rate_of_ceb_takes_no_part_in_its_loss(batch: Callable[[object], Batch]) -> None:
    rate = terms(batch(spec.Ceb(rho=1.0)), spec.Ceb(rho=1.0)).rate
    assert rate is not None and not rate.requires_grad


def test_at_gamma_0_ceb_is_xent_with_noise(batch: Callable[[object], Batch]) -> None:
    given = batch(spec.Ceb(rho=1.0))
    noisy = objectives.from_spec(spec.Xent()).loss(given.model, given.f_BZ, given.z_BZ, given.y_B, 0.0)
    torch.testing.assert_close(terms(given, spec.Ceb(rho=1.0), gamma=0.0).loss, noisy.loss, **EXACT)


@pytest.mark.parametrize("counts_K", [torch.ones(10), COUNTS_K], ids=["uniform", "not uniform"])
def test_the_consistent_classifier_is_the_bayes_inversion(batch: Callable[[object], Batch], counts_K: Tensor) -> None:
    given = batch(spec.Cceb(rho=1.0))
    given.model.classifier.set_label_counts(counts_K)
    prior_K = counts_K.double() / counts_K.sum()
    density_BK = torch.stack(
        [given.model.log_backward_encoder(given.z_BZ, torch.full((32,), y)).exp() for y in range(10)], dim=1
    )
    posterior_BK = density_BK * prior_K / (density_BK * prior_K).sum(dim=1, keepdim=True)
    torch.testing.assert_close(given.model.logits(given.z_BZ).softmax(dim=1), posterior_BK, **EXACT)


def test_a_class_without_training_images_keeps_a_finite_logit(batch: Callable[[object], Batch]) -> None:
    given = batch(spec.Cceb(rho=1.0))
    given.model.classifier.set_label_counts(torch.tensor([0, 10, 10, 10, 10, 10, 10, 10, 10, 10]))
    logits_BK = given.model.logits(given.z_BZ)
    assert logits_BK.isfinite().all()
    torch.testing.assert_close(
        given.model.classifier.log_prior_K.exp()[0], torch.tensor(0.5 / 90.5, dtype=torch.float64)
    )
