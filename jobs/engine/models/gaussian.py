"""The unit-variance Gaussian, of which all distributions over z are made. Shapes: Z dimensions of z."""

from __future__ import annotations

import math

from torch import Tensor


def log_normal(z_Z: Tensor, mean_Z: Tensor) -> Tensor:
    """Return log N(z | mean, I) in nats, over the last dimension; the others are broadcast."""
    return log_standard_normal(z_Z - mean_Z)


def log_standard_normal(z_Z: Tensor) -> Tensor:
    """Return log N(z | 0, I) in nats, over the last dimension."""
    return -0.5 * (z_Z.square().sum(dim=-1) + z_Z.shape[-1] * math.log(2 * math.pi))
