"""BatchNorm's running statistics over the parts of a step."""

from __future__ import annotations

import torch
from torch import nn

from jobs.engine.distributed import Group
from jobs.engine.training.sync_batch_norm import SyncBatchNorm2d


class RunningStatistics:
    """BatchNorm's running means and variances over the parts of one step.

    Every part starts from the statistics before the step; after it they are the mean, weighted by images, of those
    that the parts of all processes ended with. So they depend on how the batch was cut, and not on which process
    computed which part. Layers that synchronise over the processes are left out: theirs are equal already.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [
            norm
            for norm in model.modules()
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and not isinstance(norm, SyncBatchNorm2d)
        ]
        tensors = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
        self._running = [tensor for tensor in tensors if tensor is not None]
        self._counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self._before = [tensor.clone() for tensor in self._running + self._counts]
        self._sums = [torch.zeros_like(tensor) for tensor in self._running]

    def begin_part(self) -> None:
        """Restore the statistics of before the step."""
        # The counts too, so that a step counts as one update however many parts it has.
        for tensor, before in zip(self._running + self._counts, self._before, strict=True):
            tensor.copy_(before)

    def end_part(self, weight: float) -> None:
        """Add those that a part ended with; `weight` is its share of the batch."""
        for total, tensor in zip(self._sums, self._running, strict=True):
            total.add_(tensor, alpha=weight)

    def end_step(self, group: Group) -> None:
        """Set them to the mean over all parts of all processes."""
        group.sum_in_place(self._sums)
        for tensor, total in zip(self._running, self._sums, strict=True):
            tensor.copy_(total)
