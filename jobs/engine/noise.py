"""The noise of the encoder: z = f(x) + eps, with eps standard normal, a function of (seed, epoch, sample, dimension).

A draw takes some forty operations however few the numbers, a twentieth of a small network's step, and eight times the
memory of what it returns. So few are drawn for several steps at once, and many a part at a time. Shapes: B samples, Z
dimensions of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from experiments.spec import Run
from jobs.engine import objectives, randomness
from jobs.engine.device import moved
from jobs.engine.models import z_dim

NUMBERS_AT_ONCE = 2**19
"""4 MB in float64; on a CPU more take longer each, fewer too."""


def draw(run: Run, epoch: int, samples_B: Tensor, device: str | torch.device) -> Tensor:
    """eps of these samples (int64) of an epoch in the precision of the head, of shape (B, Z); (B, 0) for an objective
    that has none."""
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    if not objectives.of(run.objective).noisy:
        return torch.empty(len(samples_B), 0, dtype=dtype, device=device)
    dimensions = z_dim(run.network)
    parts = torch.split(moved(samples_B, device), _samples_at_once(dimensions))
    return torch.cat([randomness.normal(run.seed, "noise", epoch, part_P, dimensions, dtype) for part_P in parts])


def ahead(run: Run, epoch: int, index_batches: Sequence[Tensor], device: str | torch.device) -> Iterator[Tensor]:
    """What `draw` gives for each of these batches."""
    steps = max(1, _samples_at_once(z_dim(run.network)) // run.batch)
    for first in range(0, len(index_batches), steps):
        together = list(index_batches[first : first + steps])
        sizes = [len(samples_B) for samples_B in together]
        yield from torch.split(draw(run, epoch, torch.cat(together), device), sizes)


def _samples_at_once(dimensions: int) -> int:
    return max(1, NUMBERS_AT_ONCE // dimensions)
