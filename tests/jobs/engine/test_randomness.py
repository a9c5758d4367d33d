"""Against SplitMix64 in plain Python, the distributions they should have, and independence of the batch."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jobs.engine import randomness

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def finaliser(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def splitmix64(state: int, n: int) -> list[int]:
    """The first n outputs of the generator with this initial state."""
    return [finaliser((state + (i + 1) * GAMMA) & MASK) for i in range(n)]


def reference(seed: int, stream: str, epoch: int, sample: int, n: int) -> list[int]:
    key = int.from_bytes(hashlib.sha256(f"{seed}\0{epoch}\0{stream}".encode()).digest()[:8], "little")
    return splitmix64(finaliser((sample * GAMMA + key) & MASK), n)


def test_the_reference_is_splitmix64() -> None:
    # The published first outputs for the seed 1234567.
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(
    seed=st.integers(0, 2**31 - 1),
    stream=st.text(min_size=1, max_size=8),
    epoch=st.integers(0, 5000),
    samples=st.lists(st.integers(0, 2**31), min_size=1, max_size=5),
    n=st.integers(1, 9),
)
def test_bits_are_those_of_the_reference(seed: int, stream: str, epoch: int, samples: list[int], n: int) -> None:
    drawn = randomness.bits(seed, stream, epoch, torch.tensor(samples), n)
    assert [[value & MASK for value in row] for row in drawn.tolist()] == [
        reference(seed, stream, epoch, sample, n) for sample in samples
    ]


@pytest.mark.parametrize("draw", [randomness.uniform, randomness.normal])
def test_a_draw_knows_neither_its_batch_nor_how_many_follow(draw: object) -> None:
    assert callable(draw)
    whole = draw(3, "noise", 7, torch.arange(50), 9)
    order = torch.tensor([41, 3, 17])
    assert torch.equal(draw(3, "noise", 7, order, 9), whole[order])
    assert torch.equal(draw(3, "noise", 7, order, 4), whole[order][:, :4])


@pytest.mark.parametrize("other", [(4, "noise", 7), (3, "shuffle", 7), (3, "noise", 8)])
def test_each_part_of_the_key_makes_another_draw(other: tuple[int, str, int]) -> None:
    samples = torch.arange(4000)
    first, second = (randomness.normal(*key, samples, 1, torch.float64)[:, 0] for key in ((3, "noise", 7), other))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4 / 4000**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_is_uniform_along_samples_and_positions(dtype: torch.dtype) -> None:
    drawn = randomness.uniform(0, "a", 0, torch.arange(2000), 8, dtype)
    assert drawn.dtype == dtype
    assert drawn.min() >= 0 and drawn.max() < 1
    for numbers in (drawn[:, 0], drawn[:, 7], drawn.flatten()):
        assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-3


def test_uniform_never_rounds_to_one() -> None:
    # All bits set is the largest draw: (2^24 - 1) 2^-24 is exact in float32, (2^53 - 1) 2^-53 would not be.
    assert torch.tensor(2**24 - 1).to(torch.float32) * 2.0**-24 < 1


def test_normal_is_normal_and_its_pairs_are_independent() -> None:
    drawn = randomness.normal(0, "a", 0, torch.arange(20_000), 5, torch.float64)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    off_diagonal = torch.corrcoef(drawn.T) - torch.eye(5, dtype=torch.float64)
    assert off_diagonal.abs().max() < 4 / 20_000**0.5
    assert torch.corrcoef(drawn.square().T)[0, 1].abs() < 4 / 20_000**0.5


def test_a_permutation_is_one_and_every_position_is_as_likely() -> None:
    orders = torch.stack([randomness.permutation(0, "shuffle", epoch, 10) for epoch in range(2000)])
    assert torch.equal(orders.sort(dim=1).values, torch.arange(10).expand(2000, 10))
    counts = torch.stack([(orders == value).sum(dim=0) for value in range(10)])
    assert stats.chisquare(counts.flatten().numpy()).pvalue > 1e-3
    assert not torch.equal(orders[0], orders[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_bits_on_a_gpu_are_those_on_the_cpu() -> None:
    samples = torch.arange(1000)
    assert torch.equal(randomness.bits(1, "a", 2, samples.cuda(), 33).cpu(), randomness.bits(1, "a", 2, samples, 33))
