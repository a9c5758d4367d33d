"""The backward encoder b(z|y) = N(mu_y, I). Shapes: B samples, Z dimensions of z, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.engine.models.gaussian import log_normal, log_standard_normal


class BackwardEncoder(nn.Module):
    """A dense layer on one-hot labels (v2, Listing 2), so its bias is shared by all classes.

    Kernel Glorot-uniform, bias zero, and both are decayed like any other dense layer.
    """

    def __init__(self, classes: int, z_dim: int) -> None:
        super().__init__()
        self.kernel_KZ = nn.Parameter(torch.empty(classes, z_dim))
        self.bias_Z = nn.Parameter(torch.zeros(z_dim))
        nn.init.xavier_uniform_(self.kernel_KZ)

    def means(self) -> Tensor:
        """Return mu of every class, of shape (K, Z)."""
        return self.kernel_KZ + self.bias_Z

    def log_prob(self, z_BZ: Tensor, y_B: Tensor) -> Tensor:
        """Return log b(z|y) in nats, of shape (B,); its mean over y where labels are probabilities, of shape (B, K)."""
        if not y_B.is_floating_point():
            return log_normal(z_BZ, self.means()[y_B])
        means_KZ = self.means()
        relative_BK = z_BZ @ means_KZ.T - 0.5 * means_KZ.square().sum(dim=1)
        return log_standard_normal(z_BZ) + (y_B * relative_BK).sum(dim=1)
