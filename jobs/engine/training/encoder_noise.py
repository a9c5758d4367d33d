"""The noise of the encoder: z = f(x) + eps, with eps standard normal, a function of (seed, epoch, sample, dimension).

Shapes: B samples, Z dimensions of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from experiments.spec import Run
from jobs.engine import objectives, randomness
from jobs.engine.chunking import in_chunks, samples_at_once
from jobs.engine.device import to_device
from jobs.engine.models import z_dim


def draw(run: Run, epoch: int, samples_B: Tensor, device: str | torch.device) -> Tensor:
    """Return eps of these samples (int64) of an epoch in the precision of the head, of shape (B, Z); (B, 0) for an
    objective without noise."""
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    if not objectives.from_spec(run.objective).noisy:
        return torch.empty(len(samples_B), 0, dtype=dtype, device=device)
    dimensions = z_dim(run)
    # In parts, because drawing takes eight times the memory of what it returns.
    parts = torch.split(to_device(samples_B, device), samples_at_once(dimensions))
    return torch.cat([randomness.normal(run.seed, "noise", epoch, part_P, dimensions, dtype) for part_P in parts])


def for_each(run: Run, epoch: int, index_batches: Sequence[Tensor], device: str | torch.device) -> Iterator[Tensor]:
    """Yield the noise of each of these batches, as `draw` returns it."""

    def draw_rows(samples_B: Tensor) -> tuple[Tensor]:
        return (draw(run, epoch, samples_B, device),)

    for (noise_BZ,) in in_chunks(draw_rows, index_batches, z_dim(run)):
        yield noise_BZ
