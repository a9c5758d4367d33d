"""The noise of the encoder: z = f(x) + eps, with eps standard normal, a function of (seed, epoch, sample, dimension).

A draw costs some forty operations however few the numbers, which is a twentieth of a small network's step; so that of
several steps is drawn at once. Shapes: B samples, Z dimensions of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from experiments.spec import Run
from jobs.engine import objectives, randomness
from jobs.engine.models import z_dim

NUMBERS_AT_ONCE = 2**17
"""About so many, or those of one step if they are more: a few MB while they are drawn."""


def draw(run: Run, epoch: int, samples_B: Tensor, device: str | torch.device) -> Tensor:
    """eps of these samples (int64) of an epoch in the precision of the head, of shape (B, Z); (B, 0) for an objective
    that has none."""
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    if not objectives.of(run.objective).noisy:
        return torch.empty(len(samples_B), 0, dtype=dtype, device=device)
    return randomness.normal(run.seed, "noise", epoch, samples_B.to(device), z_dim(run.network), dtype)


def ahead(run: Run, epoch: int, index_batches: Sequence[Tensor], device: str | torch.device) -> Iterator[Tensor]:
    """What `draw` gives for each of these batches."""
    steps = max(1, NUMBERS_AT_ONCE // (run.batch * z_dim(run.network)))
    for first in range(0, len(index_batches), steps):
        together = index_batches[first : first + steps]
        sizes = [len(samples_B) for samples_B in together]
        yield from torch.split(draw(run, epoch, torch.cat(list(together)), device), sizes)
