"""How long a run is, and which images each step takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from experiments.spec import Run
from jobs.engine import randomness


@dataclass(frozen=True)
class Length:
    """A run's steps. An epoch is a new order of the images, cut into whole batches; what is left over is dropped,
    so that every step weighs as many images, unless the data is smaller than one batch."""

    run: Run
    images: int

    @cached_property
    def steps_per_epoch(self) -> int:
        return max(1, self.images // self.run.batch)

    @cached_property
    def steps(self) -> int:
        """Of the whole run, what it extends included; none only where it is not trained."""
        return max(1, round(self.run.epochs * self.steps_per_epoch)) if self.run.epochs else 0

    def epochs_done(self, step: int) -> float:
        """Epochs behind the start of a step."""
        return step / self.steps_per_epoch

    def rest_of_epoch(self, step: int) -> list[Tensor]:
        """The batches of the epoch that `step` is in, as indices of images (int64), from that step on."""
        epoch, done = divmod(step, self.steps_per_epoch)
        order_N = randomness.permutation(self.run.seed, "shuffle", epoch, self.images)
        left = min(self.steps_per_epoch - done, self.steps - step)
        starts = range(done * self.run.batch, (done + left) * self.run.batch, self.run.batch)
        return [order_N[start : start + self.run.batch] for start in starts]
