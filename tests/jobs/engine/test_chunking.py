"""What is made for several steps at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jobs.engine import chunking


@given(sizes=st.lists(st.integers(1, 20), max_size=8), at_once=st.integers(1, 200), numbers=st.integers(1, 9))
def test_each_batch_gets_what_is_its_own_in_as_few_calls_as_fit(sizes: list[int], at_once: int, numbers: int) -> None:
    asked: list[int] = []

    def make(samples_B: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(samples_B))
        return samples_B, samples_B[:, None].float().expand(-1, numbers)

    batches = [torch.randint(99, (size,)) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "NUMBERS_AT_ONCE", at_once)
        made = list(chunking.in_chunks(make, batches, numbers))
    for batch_B, (samples_B, rows_BN) in zip(batches, made, strict=True):
        assert torch.equal(samples_B, batch_B)
        assert torch.equal(rows_BN, batch_B[:, None].float().expand(-1, numbers))
    assert all(count * numbers <= max(at_once, max(sizes) * numbers) for count in asked)
    if set(sizes) == {1}:
        assert len(asked) == -(-len(sizes) // max(1, at_once // numbers))


def test_nothing_is_made_before_it_is_needed() -> None:
    asked: list[int] = []

    def make(samples_B: Tensor) -> tuple[Tensor]:
        asked.extend(samples_B.tolist())
        return (samples_B,)

    made = chunking.in_chunks(make, torch.arange(4).split(1), chunking.NUMBERS_AT_ONCE)
    assert asked == []
    next(made)
    assert asked == [0]
