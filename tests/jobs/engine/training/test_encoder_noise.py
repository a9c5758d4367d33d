"""The noise of z, drawn for many steps at once."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments import spec
from jobs.engine import chunking
from jobs.engine.training import encoder_noise

Change = Any


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6), at_once=st.integers(40, 1000))
def test_drawn_ahead_it_is_what_each_batch_draws_alone(precision: Any, sizes: list[int], at_once: int) -> None:
    run = spec.Run(data=spec.Data(name="digits"), network=spec.SmallCnn(width=2, z_dim=7), precision=precision,
                   objective=spec.Ceb(rho=1.0), optimiser=spec.Adam(), epochs=1, batch=max(sizes))  # fmt: skip
    batches = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(0)).split(sizes)
    alone = [encoder_noise.draw(run, 3, samples_B, "cpu") for samples_B in batches]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "NUMBERS_AT_ONCE", at_once)
        draw = mock.Mock(wraps=encoder_noise.draw)
        patch.setattr(encoder_noise, "draw", draw)
        together = list(encoder_noise.for_each(run, 3, batches, "cpu"))
    assert all(7 * len(call.args[2]) <= max(at_once, 7 * max(sizes)) for call in draw.call_args_list)
    assert [eps_BZ.shape for eps_BZ in together] == [(size, 7) for size in sizes]
    assert {eps_BZ.dtype for eps_BZ in together} == {torch.float64 if precision == "fp64" else torch.float32}
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_xent_has_none(tiny: spec.Run, change: Change) -> None:
    batches = torch.arange(10).split(4)
    drawn = list(encoder_noise.for_each(change(objective=spec.Xent()), 0, batches, "cpu"))
    assert [eps_BZ.shape for eps_BZ in drawn] == [(4, 0), (4, 0), (2, 0)]
