"""What evaluators are given and what they yield. Shapes: B images of a batch, M images that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.errors import InputError
from experiments.spec import NoAugment
from jobs.engine.data import ImageSet, batches
from jobs.engine.data.batches import Batch
from jobs.engine.data.images import evenly
from jobs.engine.models import CebModel


@dataclass(frozen=True)
class Found:
    """One number for each measured image."""

    name: str
    """The report's column."""
    unit: str
    """`accuracy`, `success`, `share` (values_M are bool) or `nats` (values_M are float)."""
    samples_M: Tensor
    """int64: the images' indices in the test set."""
    values_M: Tensor


def _no_other(run_id: str) -> CebModel:
    raise InputError(f"run {run_id}", "no other run is at hand here")


@dataclass(frozen=True)
class Subject:
    """The test images as an evaluator walks them."""

    images: ImageSet
    device: str
    batch: int
    """Images at a time; changes no result."""
    watch: Callable[[int, int], None] = lambda done, total: None
    """Called before each batch, and behind the last, with the images done and the images there are, and within
    a long one; may raise to stop the evaluation."""
    model_of: Callable[[str], CebModel] = _no_other
    """The trained model of another run by its id; InputError if there is none, or none for these images."""

    def batches(self, subset: int | None = None) -> Iterator[Batch]:
        """(samples_B, x_BCHW in [0, 1], y_B) over the test set, or over this many images drawn evenly from the
        classes, in data set order."""
        total = min(subset or len(self.images), len(self.images))
        chosen_M = evenly(self.images.labels_N, total)
        done = 0
        self.watch(done, total)
        for batch in batches(self.images, _split(chosen_M, self.batch), NoAugment(), 0, 0, self.device):
            yield batch
            done = min(done + self.batch, total)
            self.watch(done, total)


def found(parts: Sequence[tuple[str, str, Tensor, Tensor]]) -> Iterator[Found]:
    """Join what was found batch by batch, given as (name, unit, samples_B, values_B)."""
    names = {name: unit for name, unit, _, _ in parts}
    for name, unit in names.items():
        samples_M = torch.cat([samples_B for part, _, samples_B, _ in parts if part == name])
        values_M = torch.cat([values_B.cpu() for part, _, _, values_B in parts if part == name])
        yield Found(name, unit, samples_M, values_M)


def _split(indices_M: Tensor, batch: int) -> list[Tensor]:
    return list(torch.split(indices_M, batch))
