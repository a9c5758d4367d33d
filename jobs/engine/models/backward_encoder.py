"""The backward encoder b(z|y). Shapes: B samples, Z dimensions of z, K classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.engine.models.gaussian import log_normal, log_standard_normal, positive, relative_log_normals


class BackwardEncoder(nn.Module):
    """N(mu_y, I): a dense layer on one-hot labels (v2, Listing 2), so its bias is shared by all classes.

    Kernel Glorot-uniform, bias zero, and both are decayed like any other dense layer. With an `initial_scale` b(z|y)
    has a standard deviation for each class and dimension too, from a second such layer that starts at zero.
    """

    def __init__(self, classes: int, z_dim: int, initial_scale: float | None = None) -> None:
        super().__init__()
        self.initial_scale = initial_scale
        self.kernel_KZ = nn.Parameter(torch.empty(classes, z_dim))
        self.bias_Z = nn.Parameter(torch.zeros(z_dim))
        nn.init.xavier_uniform_(self.kernel_KZ)
        if initial_scale is not None:
            self.scale_kernel_KZ = nn.Parameter(torch.zeros(classes, z_dim))
            self.scale_bias_Z = nn.Parameter(torch.zeros(z_dim))

    def means(self) -> Tensor:
        """Return mu of every class, of shape (K, Z)."""
        return self.kernel_KZ + self.bias_Z

    def scales(self) -> Tensor | None:
        """Return the standard deviations of every class, of shape (K, Z); None where all are 1."""
        if self.initial_scale is None:
            return None
        return positive(self.scale_kernel_KZ + self.scale_bias_Z, self.initial_scale)

    def log_prob(self, z_BZ: Tensor, y_B: Tensor) -> Tensor:
        """Return log b(z|y) in nats, of shape (B,); its mean over y where labels are probabilities, of shape (B, K)."""
        if y_B.is_floating_point():
            return log_standard_normal(z_BZ) + (y_B * self.relative_log_probs(z_BZ)).sum(dim=1)
        means_BZ, scales_KZ = self.means()[y_B], self.scales()
        if scales_KZ is None:
            return log_normal(z_BZ, means_BZ)
        return log_standard_normal((z_BZ - means_BZ) / scales_KZ[y_B]) - scales_KZ.log().sum(dim=1)[y_B]

    def relative_log_probs(self, z_BZ: Tensor) -> Tensor:
        """Return log b(z|y) - log N(z | 0, I) for every class, of shape (B, K)."""
        return relative_log_normals(z_BZ, self.means(), self.scales())
