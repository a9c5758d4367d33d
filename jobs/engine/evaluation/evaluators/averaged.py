"""The classifier that averages over draws of z. Shapes: B images, Z dimensions of z, n draws, K classes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.engine import randomness
from jobs.engine.device import to_device
from jobs.engine.models import CebModel


def averaged(model: CebModel, samples_B: Tensor, *, seed: int, stream: str, draws: int) -> Callable[[Tensor], Tensor]:
    """Return the function from images of these samples, in this order, to log 1/n sum_i c(y|f(x) + eps_i), of shape
    (B, K).

    The n = `draws` draws of eps are fixed: those of an image are a function of `seed`, `stream` and its sample alone.
    So the function is deterministic, the same in every division into batches, and has a gradient; two streams give two
    independent samples of the expectation over e(z|x).
    """
    noise: list[Tensor] = []

    def log_probabilities_of(x_BCHW: Tensor) -> Tensor:
        f_BZ = model.encode(x_BCHW)
        if not noise:
            indices_B = to_device(samples_B, f_BZ.device)
            noise.append(
                torch.stack(
                    [randomness.normal(seed, stream, i, indices_B, f_BZ.shape[1], f_BZ.dtype) for i in range(draws)]
                )
            )
        logits_nBK = model.logits((f_BZ + noise[0]).flatten(0, 1)).view(draws, len(f_BZ), -1)
        return logits_nBK.log_softmax(dim=2).logsumexp(dim=0) - math.log(draws)

    return log_probabilities_of
