"""Gaussians, of which all distributions over z are made. Shapes: B samples, M Gaussians, Z dimensions of z."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus


def log_normal(z_Z: Tensor, mean_Z: Tensor) -> Tensor:
    """Return log N(z | mean, I) in nats, over the last dimension; the others are broadcast."""
    return log_standard_normal(z_Z - mean_Z)


def log_standard_normal(z_Z: Tensor) -> Tensor:
    """Return log N(z | 0, I) in nats, over the last dimension."""
    return -0.5 * (z_Z.square().sum(dim=-1) + z_Z.shape[-1] * math.log(2 * math.pi))


def relative_log_normals(z_BZ: Tensor, means_MZ: Tensor, scales_MZ: Tensor | None = None) -> Tensor:
    """Return log N(z | mean, diag(scale^2)) - log N(z | 0, I) of several Gaussians, of shape (B, M); the scales are 1
    where there are none.

    The squares of the distances are multiplied out: a (B, M, Z) array is 16 GB at 1,000 classes. What all Gaussians
    have in common would only cost digits.
    """
    if scales_MZ is None:
        return z_BZ @ means_MZ.T - 0.5 * means_MZ.square().sum(dim=1)
    precisions_MZ = scales_MZ.square().reciprocal()
    constants_M = (0.5 * precisions_MZ * means_MZ.square() + scales_MZ.log()).sum(dim=1)
    return z_BZ.square() @ (0.5 * (1 - precisions_MZ)).T + z_BZ @ (precisions_MZ * means_MZ).T - constants_M


def positive(raw: Tensor, initial: float) -> Tensor:
    """Return softplus(raw + c), the standard deviation that a layer's output stands for: `initial` where raw is 0."""
    return softplus(raw + math.log(math.expm1(initial)))
