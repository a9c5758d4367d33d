"""The classifier that averages over draws of z.

Shapes: B images, Z dimensions of z, P parameters of e(z|x), n draws, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.engine import randomness
from jobs.engine.device import to_device
from jobs.engine.models import CebModel


def averaged(model: CebModel, samples_B: Tensor, *, seed: int, stream: str, draws: int) -> Callable[[Tensor], Tensor]:
    """Return the function from images of these samples, in this order, to log 1/n sum_i c(y|z_i), of shape
    (B, K), for z_i of e(z|x).

    The n = `draws` draws of eps are fixed: those of an image are a function of `seed`, `stream` and its sample alone.
    So the function is deterministic, the same in every division into batches, and has a gradient; two streams give two
    independent samples of the expectation over e(z|x).
    """
    noise: list[Tensor] = []

    def log_probabilities_of(x_BCHW: Tensor) -> Tensor:
        encoding_BP = model(x_BCHW)
        if not noise:
            indices_B = to_device(samples_B, encoding_BP.device)
            z_dim, dtype = model.mean_of(encoding_BP).shape[1], encoding_BP.dtype
            noise.append(
                torch.stack([randomness.normal(seed, stream, i, indices_B, z_dim, dtype) for i in range(draws)])
            )
        z_nBZ = model.sample(encoding_BP, noise[0])
        logits_nBK = model.logits(z_nBZ.flatten(0, 1)).view(draws, len(encoding_BP), -1)
        return logits_nBK.log_softmax(dim=2).logsumexp(dim=0) - math.log(draws)

    return log_probabilities_of
