"""The nonlinear information bottleneck (Kolchinsky, Tracey & Wolpert, 2019): no marginal has to be learned.

Shapes: B samples, Z dimensions of z, K classes. Information is in nats.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def nonlinear_ib(model, f, z, y, gamma, squared: bool = False):  # type: ignore[no-untyped-def]
    """Return -log c(y|z) + gamma I(X;Z), or gamma I(X;Z)^2 (Kolchinsky, Tracey & Van Kuyk, 2019, eq. 8).

    I is bounded over the batch; the square makes every point of the curve a minimum where Y is a function of X.
    """
    information = mixture_information(f)
    penalty = information**2 if squared else information
    return {"loss": cross_entropy(model.logits(z), y) + gamma * penalty, "rate": information}


def mixture_information(f_BZ: Tensor) -> Tensor:
    """Return the upper bound -1/B sum_i log 1/B sum_j exp(-KL(N(f_i, 1) | N(f_j, 1))) of I(X;Z) (eq. 10).

    It is 0 where all encodings are one, and log B where they are far apart.
    """
    divergences_BB = torch.cdist(f_BZ, f_BZ, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    return math.log(len(f_BZ)) - (-divergences_BB).logsumexp(dim=1).mean()
