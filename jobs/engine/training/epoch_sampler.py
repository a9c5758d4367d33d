"""The number of steps of a run, and the images of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from experiments.spec import Run
from jobs.engine import randomness


@dataclass(frozen=True)
class EpochSampler:
    """Cuts each epoch, a new order of the images, into whole batches. The remainder is dropped, so that every step has
    equally many images, unless the data is smaller than one batch."""

    run: Run
    images: int

    @cached_property
    def steps_per_epoch(self) -> int:
        return max(1, self.images // self.run.batch)

    @cached_property
    def steps(self) -> int:
        """Return the steps of the run, those of the runs it extends included; 0 only if it is not trained."""
        return max(1, round(self.run.epochs * self.steps_per_epoch)) if self.run.epochs else 0

    def epochs_done(self, step: int) -> float:
        """Return the epochs before a step."""
        return step / self.steps_per_epoch

    def order(self, epoch: int) -> Tensor:
        """Return all images in the order of an epoch (int64), those that its last batch leaves out at the end."""
        return randomness.permutation(self.run.seed, "shuffle", epoch, self.images)

    def remaining_batches(self, step: int) -> list[Tensor]:
        """Return the batches of the epoch that `step` is in, as indices of images (int64), from that step on."""
        epoch, done = divmod(step, self.steps_per_epoch)
        order_N = self.order(epoch)
        remaining = min(self.steps_per_epoch - done, self.steps - step)
        starts = range(done * self.run.batch, (done + remaining) * self.run.batch, self.run.batch)
        return [order_N[start : start + self.run.batch] for start in starts]
