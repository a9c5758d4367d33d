"""What attacks climb, against the formulas written out class by class."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from experiments.benchmarks import Loss, Norm
from jobs.engine.attacks.losses import ascent
from jobs.engine.attacks.pgd import search

LOSSES: list[Loss] = ["cross_entropy", "margin", "dlr"]


def by_hand(loss: Loss, z: list[float], y: int, t: int | None) -> float:
    others = [value for j, value in enumerate(z) if j != (y if t is None else t)]
    sorted_z = sorted(z, reverse=True)
    if loss == "cross_entropy":
        log_sum = math.log(sum(map(math.exp, z)))
        return log_sum - z[y] if t is None else z[t] - log_sum
    if loss == "margin":
        return max(others) - z[y] if t is None else z[t] - max(others)
    if t is None:
        return (max(others) - z[y]) / (sorted_z[0] - sorted_z[2] + 1e-12)
    return (z[t] - z[y]) / (sorted_z[0] - (sorted_z[2] + sorted_z[3]) / 2 + 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), targeted=st.booleans())
def test_formulas(loss: Loss, seed: int, targeted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits_BK = 5 * torch.randn(6, 7, generator=generator, dtype=torch.float64)
    y_B = torch.randint(7, (6,), generator=generator)
    target_B = (y_B + torch.randint(1, 7, (6,), generator=generator)) % 7 if targeted else None
    found_B = ascent(loss, logits_BK, y_B, target_B)
    for i in range(6):
        t = None if target_B is None else int(target_B[i])
        assert found_B[i].item() == pytest.approx(by_hand(loss, logits_BK[i].tolist(), int(y_B[i]), t), abs=1e-6)


def test_the_ratio_does_not_know_the_scale_of_logits() -> None:
    logits_BK, y_B = torch.randn(5, 10), torch.arange(5)
    torch.testing.assert_close(ascent("dlr", 1000 * logits_BK, y_B), ascent("dlr", logits_BK, y_B))


def test_the_ratio_needs_classes() -> None:
    with pytest.raises(ValueError, match="4 classes"):
        ascent("dlr", torch.randn(2, 3), torch.tensor([0, 1]), torch.tensor([1, 2]))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_toward_a_target(loss: Loss, norm: Norm, trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    """The ratio only lifts the target above the label; the others make it the winner."""
    network, x_BCHW, y_B = trained
    target_B = (y_B + 1) % 4
    eps = 0.5 if norm == "linf" else 4
    options = {"norm": norm, "eps": eps, "steps": 40, "step_size": 0.1, "loss": loss}
    logits_BK = network(search(network, x_BCHW, y_B, target_B=target_B, **options).x_BCHW)
    above_B = logits_BK.gather(1, target_B[:, None]) > logits_BK.gather(1, y_B[:, None])
    assert above_B.float().mean() > 0.9
    assert loss == "dlr" or (logits_BK.argmax(1) == target_B).float().mean() > 0.9


def test_margin_and_ratio_move_what_cross_entropy_leaves(trained: tuple[nn.Module, Tensor, Tensor]) -> None:
    network, x_BCHW, y_B = trained

    def right(loss: Loss) -> int:
        attacked = search(
            lambda z: 1000 * network(z), x_BCHW, y_B, norm="linf", eps=0.3, steps=20, step_size=0.05, loss=loss
        )
        return int((network(attacked.x_BCHW).argmax(1) == y_B).sum())

    assert right("cross_entropy") > 20 > 5 > max(right("margin"), right("dlr"))
