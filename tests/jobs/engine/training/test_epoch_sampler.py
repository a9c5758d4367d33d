"""Epochs, steps and which images each step takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from experiments import spec
from jobs.engine.training.epoch_sampler import EpochSampler


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "per_epoch", "steps"),
    [(1437, 128, 60, 11, 660), (128, 128, 2, 1, 2), (127, 128, 2, 1, 2), (60, 8, 3.5, 7, 24), (60, 8, 0.01, 7, 1)],
)
def test_an_epoch_is_the_whole_batches_there_are(
    change: Callable[..., spec.Run], images: int, batch: int, epochs: float, per_epoch: int, steps: int
) -> None:
    length = EpochSampler(change(batch=batch, epochs=epochs), images)
    assert (length.steps_per_epoch, length.steps) == (per_epoch, steps)


def test_an_epoch_takes_no_image_twice_and_the_next_takes_another_order(tiny: spec.Run) -> None:
    length = EpochSampler(tiny, 60)
    first, second = (torch.cat(length.remaining_batches(step)) for step in (0, 7))
    assert len(first.unique()) == len(first) == 56
    assert not torch.equal(first, second)


def test_from_the_middle_of_an_epoch_the_rest_is_what_it_was(tiny: spec.Run) -> None:
    length = EpochSampler(tiny, 60)
    whole = length.remaining_batches(7)
    for done in range(7):
        rest = length.remaining_batches(7 + done)
        assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[done:]]


def test_the_last_epoch_stops_with_the_run(tiny: spec.Run) -> None:
    assert len(EpochSampler(tiny, 60).remaining_batches(21)) == 3


def test_less_data_than_a_batch_is_one_batch(tiny: spec.Run) -> None:
    (batch,) = EpochSampler(tiny, 5).remaining_batches(0)
    assert batch.sort().values.tolist() == [0, 1, 2, 3, 4]
