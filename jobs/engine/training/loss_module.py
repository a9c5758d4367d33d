"""The losses of one part of a batch. Shapes: B images, C channels, H by W pixels, Z dimensions of z, P parameters of
e(z|x)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from experiments.resources import Execution
from experiments.spec import Run
from jobs.engine import objectives
from jobs.engine.execution import to_memory_format
from jobs.engine.models import CebModel
from jobs.engine.objectives import Terms
from jobs.engine.precision import encoding


class LossModule(nn.Module):
    """Maps images to the loss: the module whose gradients the processes exchange."""

    def __init__(self, run: Run, model: CebModel, execution: Execution) -> None:
        super().__init__()
        self.run, self.model, self.execution = run, model, execution
        self.objective = objectives.from_spec(run.objective)

    def forward(self, x_BCHW: Tensor, y_B: Tensor, noise_BZ: Tensor, gamma: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to differentiate, the marginal's own included, and the means by name without gradients.

        Labels are int64 of shape (B,), or of mixed images probabilities of shape (B, K).

        Both are over these images; the training accuracy is over their mean encodings, the others over z.
        """
        run, model = self.run, self.model
        encoding_BP = encoding(model, run, to_memory_format(x_BCHW, run, self.execution))
        f_BZ = model.mean_of(encoding_BP)
        z_BZ = model.sample(encoding_BP, noise_BZ) if self.objective.noisy else f_BZ
        terms = self.objective.loss(model, encoding_BP, z_BZ, y_B, gamma)
        with torch.no_grad():
            logits_BK = model.logits(f_BZ) if terms.mean_logits_BK is None else terms.mean_logits_BK
            accuracy = _share_right(logits_BK.argmax(dim=1), y_B).to(f_BZ.dtype).mean()
        # One backward pass for both: the two losses have no parameter in common.
        loss, marginal_loss = self._smoothed(terms, z_BZ), terms.marginal_loss
        if marginal_loss is None and model.marginal is not None:
            marginal_loss = -model.log_marginal_alone(z_BZ).mean()
        reported = {**terms.values(), "loss": loss.detach(), "train_accuracy": accuracy}
        return loss if marginal_loss is None else loss + marginal_loss, reported

    def _smoothed(self, terms: Terms, z_BZ: Tensor) -> Tensor:
        """Return the loss with the labels of the classifier's term smoothed; `conditional_entropy` is reported of the
        labels themselves, because it is a bound."""
        smoothing = self.run.label_smoothing
        if not smoothing:
            return terms.loss
        to_all_classes = -log_softmax(self.model.logits(z_BZ), dim=1).mean()
        return terms.loss + smoothing * (to_all_classes - terms.conditional_entropy)


def _share_right(classes_B: Tensor, y_B: Tensor) -> Tensor:
    """Return for each image whether the class is its label, of a mixed image how probable it is that it is."""
    return y_B.gather(1, classes_B[:, None])[:, 0] if y_B.is_floating_point() else classes_B == y_B
