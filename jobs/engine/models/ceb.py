"""The model of every objective: an encoder e(z|x) = N(f(x), I) and the distributions over z that go with it.

Shapes: B images, C channels, H by W pixels, Z dimensions of z, K classes. Information is in nats.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jobs.engine.models.backward_encoder import BackwardEncoder
from jobs.engine.models.classifiers import ConsistentClassifier, LinearClassifier
from jobs.engine.models.gaussian import log_normal
from jobs.engine.models.marginal import MixtureMarginal


class CebModel(nn.Module):
    """Network and head. `backward_encoder` is None for xent and vib, `marginal` for xent: they have none."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        network: nn.Module,
        classifier: LinearClassifier | ConsistentClassifier,
        backward_encoder: BackwardEncoder | None = None,
        marginal: MixtureMarginal | None = None,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.network = network
        self.classifier = classifier
        self.backward_encoder = backward_encoder
        self.marginal = marginal

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Return the mean encoding f(x) of images in [0, 1], of shape (B, Z), in the head's precision."""
        f_BZ: Tensor = self.network(self.normalise(x_BCHW))
        return f_BZ.to(self.normalise.mean_C11.dtype)

    def logits(self, z_BZ: Tensor) -> Tensor:
        """Return log c(y|z) up to a constant, of shape (B, K)."""
        consistent = isinstance(self.classifier, ConsistentClassifier)
        inputs = (z_BZ, self._backward_encoder().means()) if consistent else (z_BZ,)
        logits_BK: Tensor = self.classifier(*inputs)
        return logits_BK

    def classify(self, x_BCHW: Tensor) -> Tensor:
        """Return logits over the mean encodings of images in [0, 1], of shape (B, K)."""
        return self.logits(self.encode(x_BCHW))

    def log_encoder(self, z_BZ: Tensor, f_BZ: Tensor) -> Tensor:
        """Return log e(z|x) for f = f(x), of shape (B,). It depends on eps = z - f alone, so it has no gradient."""
        return log_normal(z_BZ.detach(), f_BZ.detach())

    def log_backward_encoder(self, z_BZ: Tensor, y_B: Tensor) -> Tensor:
        """Return log b(z|y), of shape (B,), or its mean over y for probabilities of labels, of shape (B, K). Raises
        ValueError if the objective has no backward encoder."""
        return self._backward_encoder().log_prob(z_BZ, y_B)

    def log_marginal(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z), of shape (B,), with no gradient to the marginal, which has a loss of its own. Raises
        ValueError if the objective has none."""
        return self._marginal().log_prob_fixed(z_BZ)

    def log_marginal_alone(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z), of shape (B,), with gradients to the marginal and to nothing else: it learns from this.
        Raises ValueError if the objective has none."""
        return self._marginal().log_prob(z_BZ.detach())

    def _marginal(self) -> MixtureMarginal:
        if self.marginal is None:
            raise ValueError("this objective has no marginal")
        return self.marginal

    def _backward_encoder(self) -> BackwardEncoder:
        if self.backward_encoder is None:
            raise ValueError("this objective has no backward encoder")
        return self.backward_encoder


class Normalise(nn.Module):
    """Scales pixels in [0, 1] by a mean and a standard deviation per channel: those of the training images, or of the
    images that a network of a library was made for.

    Part of the model, so that an attack's ball is in [0, 1] pixel units.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean_C11: Tensor
        self.std_C11: Tensor
        self.mean_values, self.std_values = tuple(mean), tuple(std)  # readable on the meta device too
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std_C11", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW.to(self.mean_C11.dtype) - self.mean_C11) / self.std_C11
