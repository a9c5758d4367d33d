"""Classifiers c(y|z). Shapes: B samples, Z dimensions of z, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearClassifier(nn.Linear):
    """A dense softmax layer; weights start normal with standard deviation 0.01, biases at zero (v2, Listing 2)."""

    def __init__(self, z_dim: int, classes: int) -> None:
        super().__init__(z_dim, classes)
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)


class ConsistentClassifier(nn.Module):
    """The Bayes inversion of the backward encoder: softmax over y of log b(z|y) + log p(y) (v2 eqs. 10-11).

    It has no parameters of its own. p(y) are the label frequencies of the training images, uniform until
    `set_label_counts` is called.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.log_prior_K: Tensor
        self.register_buffer("log_prior_K", torch.full((classes,), 1 / classes).log())

    def set_label_counts(self, counts_K: Tensor) -> None:
        """Take p(y) from the numbers of training images; a class without any counts as half an image, so that
        its logit stays finite."""
        floored_K = counts_K.double().clamp(min=0.5)
        self.log_prior_K.copy_((floored_K / floored_K.sum()).log())

    def forward(self, relative_BK: Tensor) -> Tensor:
        """Return logits of shape (B, K) for the backward encoder's `relative_log_probs`: log b(z|y) + log p(y) up to
        what is the same for every class."""
        return relative_BK + self.log_prior_K
