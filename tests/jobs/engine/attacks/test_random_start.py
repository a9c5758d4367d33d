"""Random starts: where they lie, how they are spread, and that nothing but the sample decides them."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from jobs.engine.attacks.pgd import Norm
from jobs.engine.attacks.random_start import random_start

SAMPLES_B = torch.arange(4000)
GREY_BCHW = torch.full((4000, 1, 2, 3), 0.5)


def test_uniform_in_the_cube() -> None:
    offset_BD = (random_start(GREY_BCHW, norm="linf", eps=0.2, seed=0, samples_B=SAMPLES_B) - GREY_BCHW).flatten(1)
    assert offset_BD.abs().max() <= 0.2 + 1e-7
    assert kstest(offset_BD.flatten().numpy() / 0.4 + 0.5, "uniform").pvalue > 1e-3
    assert offset_BD.T.corrcoef().fill_diagonal_(0).abs().max() < 0.08


def test_uniform_in_the_round_ball() -> None:
    """In six dimensions the share within r is (r/eps)^6, and no direction is preferred."""
    offset_BD = (random_start(GREY_BCHW, norm="l2", eps=0.3, seed=0, samples_B=SAMPLES_B) - GREY_BCHW).flatten(1)
    radius_B = offset_BD.norm(dim=1)
    assert radius_B.max() <= 0.3 + 1e-7
    assert kstest((radius_B.double() / 0.3).numpy() ** 6, "uniform").pvalue > 1e-3
    direction_BD = offset_BD / radius_B[:, None]
    assert direction_BD.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(direction_BD.T @ direction_BD / 4000, torch.eye(6) / 6, rtol=0, atol=0.02)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_function_of_seed_epoch_and_sample(norm: Norm) -> None:
    def start(samples: list[int], seed: int = 0, epoch: int = 0) -> torch.Tensor:
        x_BCHW = GREY_BCHW[: len(samples)]
        return random_start(x_BCHW, norm=norm, eps=0.2, seed=seed, epoch=epoch, samples_B=torch.tensor(samples))

    whole = start([0, 1, 2, 3])
    assert torch.equal(start([3, 1]), whole[[3, 1]])
    assert not torch.equal(start([0], seed=1), whole[:1]) and not torch.equal(start([0], epoch=1), whole[:1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_clipped_to_the_image_range(norm: Norm) -> None:
    for corner in (0.0, 1.0):
        x_BCHW = torch.full((50, 1, 2, 3), corner)
        start_BCHW = random_start(x_BCHW, norm=norm, eps=5, seed=0, samples_B=torch.arange(50))
        assert start_BCHW.min() >= 0 and start_BCHW.max() <= 1
        assert start_BCHW.dtype == x_BCHW.dtype
