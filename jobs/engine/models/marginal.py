"""The marginal m(z): a learned mixture of unit-variance Gaussians. Shapes: B samples, M components, Z dimensions.

A mixture, because one Gaussian cannot give the rate ln K that K separated classes need. The papers do not say what
they used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from jobs.engine.models.gaussian import log_standard_normal


class MixtureMarginal(nn.Module):
    """m(z) = sum_i w_i N(z | m_i, I).

    The means start as draws of variance 1/Z, within a unit or so of one another in any dimension, so that all
    components share the first samples and come apart with the classes; started far apart, the nearest takes all.
    """

    def __init__(self, components: int, z_dim: int) -> None:
        super().__init__()
        self.means_MZ = nn.Parameter(torch.empty(components, z_dim))
        self.logits_M = nn.Parameter(torch.zeros(components))
        nn.init.normal_(self.means_MZ, std=z_dim**-0.5)

    def log_prob(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z) in nats, of shape (B,), with gradients to z and to the mixture."""
        return _log_mixture(z_BZ, self.means_MZ, self.logits_M)

    def log_prob_fixed(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z) with gradients to z alone."""
        return _log_mixture(z_BZ, self.means_MZ.detach(), self.logits_M.detach())


def _log_mixture(z_BZ: Tensor, means_MZ: Tensor, logits_M: Tensor) -> Tensor:
    """Return log m(z). The squares of the distances are multiplied out: a (B, M, Z) array is 16 GB at 1,000 classes."""
    half_squares_M = 0.5 * means_MZ.square().sum(dim=1)
    relative_BM = z_BZ @ means_MZ.T - half_squares_M + log_softmax(logits_M, dim=0)
    return log_standard_normal(z_BZ) + relative_BM.logsumexp(dim=1)
