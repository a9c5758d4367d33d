"""VIB, the variational information bottleneck (Alemi et al., 2017; v2 eq. 7):

    -log c(y|z) + gamma [log e(z|x) - log m(z)],  gamma = sigma(-rho) = 1 / (1 + e^rho)

The bracket is the rate. Its gradient goes to the encoder here; the marginal follows it by a loss and an optimiser
of its own, -log m(z), which has the same minimum and trains it while gamma is still next to 0.

The papers call CEB's bound the tighter one. That holds where both choose from equal families of distributions; between
the variational bounds there is no order in general (Geiger & Fischer, 2020, Entropy 22:1229).
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cross_entropy

from jobs.engine.models import CebModel
from jobs.engine.objectives.terms import Objective, Terms


def loss(model: CebModel, encoding_BP: Tensor, z_BZ: Tensor, y_B: Tensor, gamma: float) -> Terms:
    """Return the terms at z = f + S eps, reparameterised: gradients flow through z into f, S and c."""
    conditional_entropy = cross_entropy(model.logits(z_BZ), y_B)
    rate = (model.log_encoder(z_BZ, encoding_BP) - model.log_marginal(z_BZ)).mean()
    return Terms(conditional_entropy + gamma * rate, conditional_entropy, rate=rate)


def gamma_of(rho: float) -> float:
    """Return sigma(-rho), exact for large rho too."""
    return math.exp(-rho) / (1 + math.exp(-rho))


def rho_of(gamma: float) -> float:
    """Return the inverse of `gamma_of`; infinite where gamma is 0."""
    return math.log1p(-gamma) - math.log(gamma) if gamma else math.inf


VIB = Objective(loss, noisy=True, gamma_of=gamma_of, rho_of=rho_of)
