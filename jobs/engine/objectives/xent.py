"""xent, the deterministic baseline: -log c(y|f(x)), without noise and without a bottleneck."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cross_entropy

from jobs.engine.models import CebModel
from jobs.engine.objectives.terms import Objective, Terms


def loss(model: CebModel, encoding_BP: Tensor, z_BZ: Tensor, y_B: Tensor, gamma: float) -> Terms:
    """Return the terms at z = f(x); gamma is unused."""
    logits_BK = model.logits(z_BZ)
    conditional_entropy = cross_entropy(logits_BK, y_B)
    return Terms(conditional_entropy, conditional_entropy, mean_logits_BK=logits_BK)


XENT = Objective(loss, noisy=False, gamma_of=lambda rho: 0.0, rho_of=lambda gamma: math.inf)
