"""PGD against its definition, closed forms and an independent implementation."""

from __future__ import annotations

import copy
import math

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor, nn

from jobs.engine.attacks.memory_format import quick
from jobs.engine.attacks.pgd import Norm, pgd, project, search
from jobs.engine.attacks.random_start import random_start

NORMS: list[Norm] = ["linf", "l2"]


def distance(x_BCHW: Tensor, z_BCHW: Tensor, norm: Norm) -> Tensor:
    order = math.inf if norm == "linf" else 2
    return torch.linalg.vector_norm((z_BCHW - x_BCHW).double().flatten(1), ord=order, dim=1)


def loss(network: nn.Module, x_BCHW: Tensor, y_B: Tensor) -> float:
    return nn.functional.cross_entropy(network(x_BCHW), y_B).item()


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), eps=st.floats(1e-4, 20), reach=st.floats(0, 30))
def test_projection_ends_in_the_ball_and_in_the_image_range(norm: Norm, seed: int, eps: float, reach: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_BCHW = torch.rand(5, 3, 4, 4, generator=generator)
    z_BCHW = x_BCHW + reach * torch.randn(5, 3, 4, 4, generator=generator)
    projected_BCHW = project(z_BCHW, x_BCHW, norm=norm, eps=eps)
    assert distance(x_BCHW, projected_BCHW, norm).max() <= eps * (1 + 1e-6) + 1e-6
    assert projected_BCHW.min() >= 0 and projected_BCHW.max() <= 1
    again_BCHW = project(projected_BCHW, x_BCHW, norm=norm, eps=eps)
    torch.testing.assert_close(again_BCHW, projected_BCHW, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_leaves_what_is_inside_alone(norm: Norm) -> None:
    x_BCHW = torch.full((2, 1, 3, 3), 0.5)
    z_BCHW = x_BCHW + 0.01
    assert torch.equal(project(z_BCHW, x_BCHW, norm=norm, eps=0.1), x_BCHW + (z_BCHW - x_BCHW))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), eps=st.floats(1e-3, 3), steps=st.integers(1, 5), random=st.booleans())
def test_no_attack_leaves_the_ball(norm: Norm, seed: int, eps: float, steps: int, random: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_BCHW = torch.rand(3, 2, 3, 3, generator=generator)
    weights_DK = torch.randn(18, 4, generator=generator)
    y_B = torch.randint(4, (3,), generator=generator)
    start_BCHW = random_start(x_BCHW, norm=norm, eps=eps, seed=seed, samples_B=torch.arange(3)) if random else None
    attacked_BCHW = pgd(
        lambda z_BCHW: z_BCHW.flatten(1) @ weights_DK,
        x_BCHW, y_B, norm=norm, eps=eps, steps=steps, step_size=eps, start_BCHW=start_BCHW,
    )  # fmt: skip
    assert distance(x_BCHW, attacked_BCHW, norm).max() <= eps * (1 + 1e-6) + 1e-6
    assert attacked_BCHW.min() >= 0 and attacked_BCHW.max() <= 1


def test_one_step_on_two_linear_classes_is_the_optimum() -> None:
    """The margin w·x falls fastest along -sign(w) (linf) and -w/|w| (l2), for whatever x."""
    generator = torch.Generator().manual_seed(1)
    w_D = torch.randn(12, generator=generator)
    x_BCHW = 0.4 + 0.2 * torch.rand(4, 3, 2, 2, generator=generator)
    y_B = torch.zeros(4, dtype=torch.int64)

    def logits_of(z_BCHW: Tensor) -> Tensor:
        margin_B = z_BCHW.flatten(1) @ w_D
        return torch.stack([margin_B, torch.zeros_like(margin_B)], dim=1)

    linf_BD = pgd(logits_of, x_BCHW, y_B, norm="linf", eps=0.1, steps=1, step_size=0.1).flatten(1)
    torch.testing.assert_close(linf_BD, x_BCHW.flatten(1) - 0.1 * w_D.sign(), rtol=0, atol=1e-6)
    l2_BD = pgd(logits_of, x_BCHW, y_B, norm="l2", eps=0.1, steps=1, step_size=0.1).flatten(1)
    torch.testing.assert_close(l2_BD, x_BCHW.flatten(1) - 0.1 * w_D / w_D.norm(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_batch_size_changes_nothing(norm: Norm, trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    """In float64, where the order of a convolution's sums can't turn the sign of a gradient."""
    network, x_BCHW, y_B = trained[0].double(), trained[1].double(), trained[2]
    try:
        kind = {"norm": norm, "eps": 0.3, "steps": 5, "step_size": 0.1}
        whole_BCHW = pgd(network, x_BCHW, y_B, **kind)
        parts = [pgd(network, x_bCHW, y_b, **kind) for x_bCHW, y_b in zip(x_BCHW.split(7), y_B.split(7), strict=True)]
        torch.testing.assert_close(torch.cat(parts), whole_BCHW, rtol=0, atol=1e-12)
    finally:
        network.float()


class Quick(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return quick(x_BCHW)


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(
    ("norm", "eps", "dtype", "tolerance"),
    [
        ("linf", 8 / 255, torch.float32, 1e-6),
        ("linf", 0.2, torch.float32, 1e-6),
        ("l2", 0.5, torch.float32, 1e-6),
        ("linf", 0.2, torch.float64, 1e-12),
        ("l2", 2.0, torch.float64, 1e-12),  # in fp32 the rounding of 20 long steps adds up to 2e-6
    ],
)
def test_agrees_with_foolbox_step_for_step(
    norm: Norm,
    eps: float,
    dtype: torch.dtype,
    tolerance: float,
    random: bool,
    trained: tuple[nn.Module, Tensor, Tensor],
) -> None:
    # One layout for both: the same sums in the same order.
    network = nn.Sequential(Quick(), copy.deepcopy(trained[0]).to(dtype)).eval()
    x_BCHW, y_B = trained[1].to(dtype), trained[2]
    steps, step_size = 20, 4 / 3 * eps / 20
    samples_B = torch.arange(len(x_BCHW))
    start_BCHW = random_start(x_BCHW, norm=norm, eps=eps, seed=3, samples_B=samples_B) if random else x_BCHW
    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm](
        abs_stepsize=step_size, steps=steps, random_start=random
    )
    attack.get_random_start = lambda x0, epsilon: type(x0)(start_BCHW.clone())
    theirs_BCHW, _, _ = attack(foolbox.PyTorchModel(network, bounds=(0, 1)), x_BCHW, y_B, epsilons=eps)
    options = {"norm": norm, "eps": eps, "steps": steps, "step_size": step_size}
    ours_BCHW = pgd(network, x_BCHW, y_B, start_BCHW=start_BCHW, **options)
    assert (ours_BCHW - theirs_BCHW).abs().max() <= tolerance
    assert loss(network, ours_BCHW, y_B) > loss(network, x_BCHW, y_B)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.5)])
def test_robust_accuracy_is_foolbox_s_whatever_either_draws(
    norm: Norm, eps: float, trained: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """Its random starts are its own, in l2 of another law: 12 of each, and Wilson's intervals have to meet."""
    network, x_BCHW, y_B = trained
    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm](abs_stepsize=eps / 5, steps=8)
    wrapped, ours, theirs = foolbox.PyTorchModel(network, bounds=(0, 1)), 0, 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for epoch in range(12):
            start = random_start(x_BCHW, norm=norm, eps=eps, seed=0, samples_B=torch.arange(len(x_BCHW)), epoch=epoch)
            options = {"norm": norm, "eps": eps, "steps": 8, "step_size": eps / 5}
            found_BCHW = pgd(network, x_BCHW, y_B, start_BCHW=start, **options)
            ours += int((network(found_BCHW).argmax(1) == y_B).sum())
            found_BCHW = attack.run(wrapped, x_BCHW, y_B, epsilon=eps)
            theirs += int((network(found_BCHW).argmax(1) == y_B).sum())
    total = 12 * len(x_BCHW)
    assert 0.2 < ours / total < 0.9
    (low, high), (their_low, their_high) = (
        binomtest(right, total).proportion_ci(method="wilson") for right in (ours, theirs)
    )
    assert low <= their_high and their_low <= high


def test_a_larger_ball_leaves_nothing_right(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, x_BCHW, y_B = trained
    attacked_BCHW = pgd(network, x_BCHW, y_B, norm="linf", eps=0.5, steps=20, step_size=0.1)
    assert not (network(attacked_BCHW).argmax(1) == y_B).any()


def test_a_saturated_network_is_counted_not_taken_for_robust(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Logits x 1000: the cross-entropy of right images is exactly 0 in fp32 and the attack stands still."""
    network, x_BCHW, y_B = trained
    right_B = network(x_BCHW).argmax(1) == y_B
    options = {"norm": "linf", "eps": 0.2, "steps": 5, "step_size": 0.05}
    honest = search(network, x_BCHW, y_B, **options)
    masked = search(lambda z_BCHW: 1000 * network(z_BCHW), x_BCHW, y_B, **options)
    assert not honest.zero_gradient_B.any()
    assert masked.zero_gradient_B[right_B].float().mean() > 0.8
    assert torch.equal(masked.x_BCHW[masked.zero_gradient_B & right_B], x_BCHW[masked.zero_gradient_B & right_B])


@pytest.mark.parametrize("norm", NORMS)
def test_tiny_gradients_still_point_somewhere(norm: Norm, trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Squares of gradients below 1e-23 vanish in fp32; the direction must not."""
    network, x_BCHW, y_B = trained
    options = {"norm": norm, "eps": 0.2, "steps": 1, "step_size": 0.2}
    plain_BCHW = pgd(lambda z_BCHW: network(z_BCHW), x_BCHW, y_B, **options)

    def faint(z_BCHW: Tensor) -> Tensor:
        logits_BK = network(z_BCHW)
        return logits_BK.detach() + 1e-25 * (logits_BK - logits_BK.detach())

    torch.testing.assert_close(pgd(faint, x_BCHW, y_B, **options), plain_BCHW, rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_without_gradient_or_with_nan_moves_nothing(norm: Norm) -> None:
    x_BCHW, y_B = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
    options = {"norm": norm, "eps": 1, "steps": 2, "step_size": 1}
    for factor in (0.0, math.nan):
        attacked = search(lambda z_BCHW, f=factor: f * z_BCHW.flatten(1), x_BCHW, y_B, **options)
        assert torch.equal(attacked.x_BCHW, x_BCHW)
        assert attacked.zero_gradient_B.all()


def test_parameters_receive_no_gradient_and_images_are_left_as_they_were(
    trained: tuple[nn.Module, Tensor, Tensor],
) -> None:
    network, x_BCHW, y_B = trained
    before_BCHW = x_BCHW.clone()
    for parameter in network.parameters():
        parameter.grad = None
    with torch.no_grad():  # an evaluator may well run under no_grad
        attacked_BCHW = pgd(network, x_BCHW, y_B, norm="linf", eps=0.1, steps=2, step_size=0.1)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(x_BCHW, before_BCHW)
    assert not attacked_BCHW.requires_grad
