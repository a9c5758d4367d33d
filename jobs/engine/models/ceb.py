"""The model of every objective: an encoder e(z|x), by default N(f(x), I), and the distributions over z that go with it.

Shapes: B images, C channels, H by W pixels, Z dimensions of z, P parameters of e(z|x) (Z of N(f(x), I)), M components
of the marginal, K classes. Information is in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from jobs.engine.models.backward_encoder import BackwardEncoder
from jobs.engine.models.classifiers import ConsistentClassifier, LinearClassifier
from jobs.engine.models.encoder import Encoder
from jobs.engine.models.gaussian import log_normal, log_standard_normal, relative_log_normals
from jobs.engine.models.marginal import DensityMarginal, VampMarginal, detached_state


class CebModel(nn.Module):
    """Network and head. `backward_encoder` is None for xent and vib, `marginal` for xent: they have none. `encoder` is
    None where e(z|x) has unit covariance: its mean are the features."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        network: nn.Module,
        classifier: LinearClassifier | ConsistentClassifier,
        backward_encoder: BackwardEncoder | None = None,
        marginal: DensityMarginal | VampMarginal | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.network = network
        self.encoder = encoder
        self.classifier = classifier
        self.backward_encoder = backward_encoder
        self.marginal = marginal

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Return the network's features of images in [0, 1], in the head's precision."""
        features_BF: Tensor = self.network(self.normalise(x_BCHW))
        return features_BF.to(self.normalise.mean_C11.dtype)

    def encoding_of(self, features_BF: Tensor) -> Tensor:
        """Return the parameters of e(z|x) for the features of an image, of shape (B, P), the mean first."""
        if self.encoder is None:
            return features_BF
        encoding_BP: Tensor = self.encoder(features_BF)
        return encoding_BP

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the parameters of e(z|x) for images in [0, 1], of shape (B, P), the mean first."""
        return self.encoding_of(self.features(x_BCHW))

    def mean_of(self, encoding_BP: Tensor) -> Tensor:
        """Return the mean of e(z|x), of shape (B, Z)."""
        return encoding_BP if self.encoder is None else encoding_BP[:, : self.encoder.z_dim]

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Return the mean encoding f(x) of images in [0, 1], of shape (B, Z), in the head's precision."""
        features_BF = self.features(x_BCHW)
        if self.encoder is None:
            return features_BF
        f_BZ: Tensor = self.encoder.mean(features_BF)
        return f_BZ

    def sample(self, encoding_BP: Tensor, noise_BZ: Tensor) -> Tensor:
        """Return z of e(z|x) for standard normal noise, of its shape: (B, Z), or several draws in front of that."""
        return encoding_BP + noise_BZ if self.encoder is None else self.encoder.sample(encoding_BP, noise_BZ)

    def logits(self, z_BZ: Tensor) -> Tensor:
        """Return log c(y|z) up to a constant, of shape (B, K)."""
        consistent = isinstance(self.classifier, ConsistentClassifier)
        logits_BK: Tensor = self.classifier(self._backward_encoder().relative_log_probs(z_BZ) if consistent else z_BZ)
        return logits_BK

    def classify(self, x_BCHW: Tensor) -> Tensor:
        """Return logits over the mean encodings of images in [0, 1], of shape (B, K)."""
        return self.logits(self.encode(x_BCHW))

    def log_encoder(self, z_BZ: Tensor, encoding_BP: Tensor) -> Tensor:
        """Return log e(z|x), of shape (B,), of z that was drawn from this encoding. It depends on eps and the standard
        deviations alone, so that with unit covariance it has no gradient."""
        if self.encoder is None:
            return log_normal(z_BZ.detach(), encoding_BP.detach())
        return self.encoder.log_prob(z_BZ, encoding_BP)

    def log_backward_encoder(self, z_BZ: Tensor, y_B: Tensor) -> Tensor:
        """Return log b(z|y), of shape (B,), or its mean over y for probabilities of labels, of shape (B, K). Raises
        ValueError if the objective has no backward encoder."""
        return self._backward_encoder().log_prob(z_BZ, y_B)

    def log_marginal(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z), of shape (B,), with no gradient to the marginal, which has a loss of its own: to z, and of
        `vamp` to the network. Raises ValueError if the objective has none."""
        marginal = self._marginal()
        if isinstance(marginal, VampMarginal):
            return self._log_vamp(z_BZ, marginal.images().detach(), fixed=False)
        return marginal.log_prob_fixed(z_BZ)

    def log_marginal_alone(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z), of shape (B,), with gradients to the marginal and to nothing else: it learns from this.
        Raises ValueError if the objective has none."""
        marginal = self._marginal()
        if isinstance(marginal, VampMarginal):
            return self._log_vamp(z_BZ.detach(), marginal.images(), fixed=True)
        return marginal.log_prob(z_BZ.detach())

    def _log_vamp(self, z_BZ: Tensor, images_MCHW: Tensor, *, fixed: bool) -> Tensor:
        """Return log 1/M sum e(z|u) over images, with gradients to the network unless it is `fixed`."""
        training = self.network.training
        # Layers that differ in training would mix the images, or count them to BatchNorm's statistics.
        self.network.eval()
        state = detached_state(self) if fixed else {}
        encodings_MP: Tensor = functional_call(self, state, (images_MCHW,))
        self.network.train(training)
        if self.encoder is None:
            log_probs_BM = log_standard_normal(z_BZ)[:, None] + relative_log_normals(z_BZ, encodings_MP)
        else:
            log_probs_BM = self.encoder.log_probs(z_BZ, encodings_MP)
        return log_probs_BM.logsumexp(dim=1) - math.log(len(images_MCHW))

    def _marginal(self) -> DensityMarginal | VampMarginal:
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
