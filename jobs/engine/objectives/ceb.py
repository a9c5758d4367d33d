"""CEB, the conditional entropy bottleneck (Fischer, 2018; v2 eq. 6, Listing 3):

    -log c(y|z) + gamma [log e(z|x) - log b(z|y)],  gamma = e^-rho

For unit variances the bracket is 1/2 (f - mu_y) . (f - mu_y + 2 eps), whose mean over eps is 1/2 |f - mu_y|^2.
The rate is measured beside it and takes no part. As a cost it stands in its own right: see `vib` on how their bounds
compare.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cross_entropy

from jobs.engine.models import CebModel
from jobs.engine.objectives.terms import Objective, Terms


def loss(model: CebModel, encoding_BP: Tensor, z_BZ: Tensor, y_B: Tensor, gamma: float) -> Terms:
    """Return the terms at z = f + S eps, reparameterised: gradients flow through z into f, S, c and b."""
    conditional_entropy = cross_entropy(model.logits(z_BZ), y_B)
    log_encoder_B = model.log_encoder(z_BZ, encoding_BP)
    residual_information = (log_encoder_B - model.log_backward_encoder(z_BZ, y_B)).mean()
    log_marginal_B = model.log_marginal_alone(z_BZ)
    rate = (log_encoder_B - log_marginal_B).detach().mean()
    total = conditional_entropy + gamma * residual_information
    return Terms(total, conditional_entropy, residual_information, rate, -log_marginal_B.mean())


def gamma_of(rho: float) -> float:
    """Return e^-rho."""
    return math.exp(-rho)


def rho_of(gamma: float) -> float:
    """Return -ln gamma; infinite where gamma is 0."""
    return -math.log(gamma) if gamma else math.inf


CEB = Objective(loss, noisy=True, gamma_of=gamma_of, rho_of=rho_of)
