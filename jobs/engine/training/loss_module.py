"""What a process computes of its share of a batch, part by part. Shapes: B images, C channels, H by W pixels, Z
dimensions of z.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.matrix.resources_section import Execution
from experiments.spec import Run
from jobs.engine import objectives
from jobs.engine.distributed import Group
from jobs.engine.execution import laid_out
from jobs.engine.models import CebModel
from jobs.engine.precision import encode
from jobs.engine.training.sync_batch_norm import SyncBatchNorm2d


class Losses(nn.Module):
    """From images to what is minimised: the module whose gradients the processes exchange."""

    def __init__(self, run: Run, model: CebModel, execution: Execution) -> None:
        super().__init__()
        self.run, self.model, self.execution = run, model, execution
        self.objective = objectives.of(run.objective)

    def forward(self, x_BCHW: Tensor, y_B: Tensor, noise_BZ: Tensor, gamma: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to go backward from, the marginal's own included, and the means by name without gradients.

        Both are over these images; the training accuracy is over their mean encodings, all else over z.
        """
        run, model = self.run, self.model
        f_BZ = encode(model, run, laid_out(x_BCHW, run, self.execution))
        z_BZ = f_BZ + noise_BZ if self.objective.noisy else f_BZ
        terms = self.objective.loss(model, f_BZ, z_BZ, y_B, gamma)
        with torch.no_grad():
            logits_BK = model.logits(f_BZ) if terms.mean_logits_BK is None else terms.mean_logits_BK
            accuracy = (logits_BK.argmax(dim=1) == y_B).to(f_BZ.dtype).mean()
        # One backward pass for both: the two losses have no parameter in common.
        loss, marginal_loss = terms.loss, terms.marginal_loss
        if marginal_loss is None and model.marginal is not None:
            marginal_loss = -model.log_marginal_alone(z_BZ).mean()
        loss = loss if marginal_loss is None else loss + marginal_loss
        return loss, {**terms.values(), "train_accuracy": accuracy}


class RunningStatistics:
    """BatchNorm's running means and variances over the parts of one step.

    Every part moves them from where they were before the step; behind it they are at the mean of where the parts of
    all processes brought them, by images. So they depend on how the batch was cut, and not on who computed what.
    Those over all processes are the same in each by themselves.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [
            norm
            for norm in model.modules()
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and not isinstance(norm, SyncBatchNorm2d)
        ]
        found = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
        self._running = [tensor for tensor in found if tensor is not None]
        self._counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self._before = [tensor.clone() for tensor in self._running + self._counts]
        self._sums = [torch.zeros_like(tensor) for tensor in self._running]

    def begin_part(self) -> None:
        """Put them back to where they were before the step."""
        for tensor, before in zip(self._running + self._counts, self._before, strict=True):
            tensor.copy_(before)

    def end_part(self, weight: float) -> None:
        """A part has moved them; `weight` is its share of the whole batch."""
        for total, tensor in zip(self._sums, self._running, strict=True):
            total.add_(tensor, alpha=weight)

    def end_step(self, group: Group) -> None:
        """Bring them to the mean."""
        group.add_up(self._sums)
        for tensor, total in zip(self._running, self._sums, strict=True):
            tensor.copy_(total)
