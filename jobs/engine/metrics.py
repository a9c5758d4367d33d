"""The running means of training, and the check that they are still finite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from jobs.engine.distributed import Group
from jobs.engine.errors import DivergedError

EXPLODED = 1e6
"""Nats. An untrained network of any matrix starts below; a larger loss is an explosion, not training."""


@dataclass
class Meter:
    """Sums over the images of a stretch of steps. Kept in checkpoints, so that the means of an epoch do not depend
    on whether it was interrupted."""

    images: int = 0
    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, values: dict[str, float], images: int) -> None:
        """Add a step, given its means over this many images."""
        self.images += images
        self.steps += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + images * value

    def means(self) -> dict[str, float]:
        """Return the mean of every quantity over the images."""
        return {name: total / self.images for name, total in self.sums.items()}


@dataclass
class Pending:
    """Steps whose values are still on the device: fetching each at once would make a GPU wait for it, and takes a CPU
    longer than fetching many together."""

    _rows: list[tuple[int, int, dict[str, Tensor]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, step: int, images: int, values: dict[str, Tensor]) -> None:
        """Add a step's scalars, means over this many images."""
        self._rows.append((step, images, values))

    def collect(self, checkpoint: Path | None, group: Group, *meters: Meter) -> None:
        """Fetch the values and add their means over the group to the meters.

        Raises DivergedError at the first step with a value that is no finite number, or a loss above EXPLODED;
        `checkpoint` is the one it names.
        """
        rows, self._rows = self._rows, []
        if not rows:
            return
        fetched = torch.stack([value for _, _, tensors in rows for value in tensors.values()]).view(len(rows), -1)
        counts, means = group.means([images for _, images, _ in rows], fetched.tolist())
        for (step, _, tensors), images, row in zip(rows, counts, means, strict=True):
            values = dict(zip(tensors, row, strict=True))
            for name, value in values.items():
                # Only the loss is bounded: its parts may be large while a small gamma weighs them.
                if math.isnan(value):
                    raise DivergedError("nan", name, value, step, checkpoint)
                if math.isinf(value) or (name == "loss" and abs(value) > EXPLODED):
                    raise DivergedError("exploded", name, value, step, checkpoint)
            for meter in meters:
                meter.add(values, images)
