"""How much a code z says about its image, over z drawn from e(z|x) (FACTS section 2). In nats.

Shapes: B images, Z dimensions of z.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.benchmarks import Information
from jobs.engine import randomness
from jobs.engine.evaluators.subject import Found, Subject, found
from jobs.engine.models import CebModel


@torch.no_grad()
def evaluate(model: CebModel, subject: Subject, benchmark: Information, seed: int) -> Iterator[Found]:
    """Yield for each image the mean over `benchmark.samples` draws of

    - `rate` = log e(z|x) - log m(z), whose mean bounds I(X;Z) from above; not for xent, which has no m
    - `residual_information` = log e(z|x) - log b(z|y), which bounds I(X;Z|Y); for ceb and cceb, which have b
    - `conditional_entropy` = -log c(y|z), which bounds H(Y|Z); for xent, which has no noise, at z = f(x)
    """
    parts = []
    for samples_B, x_BCHW, y_B in subject.batches():
        f_BZ = model.encode(x_BCHW)
        if model.marginal is None:
            parts.append(("conditional_entropy", "nats", samples_B, _surprise(model, f_BZ, y_B)))
            continue
        draws = [_draw(model, f_BZ, y_B, samples_B, seed, number) for number in range(benchmark.samples)]
        for name in draws[0]:
            mean_B = torch.stack([values[name] for values in draws]).mean(dim=0)
            parts.append((name, "nats", samples_B, mean_B))
    yield from found(parts)


def _draw(model: CebModel, f_BZ: Tensor, y_B: Tensor, samples_B: Tensor, seed: int, number: int) -> dict[str, Tensor]:
    """What one z for each image says; the draw's number stands where training has the epoch."""
    samples_B = samples_B.to(f_BZ.device)
    z_BZ = f_BZ + randomness.normal(seed, "information", number, samples_B, f_BZ.shape[1], f_BZ.dtype)
    log_e_B = model.log_encoder(z_BZ, f_BZ).double()
    values = {"rate": log_e_B - model.log_marginal(z_BZ)}
    if model.backward_encoder is not None:
        values["residual_information"] = log_e_B - model.log_backward_encoder(z_BZ, y_B)
    return values | {"conditional_entropy": _surprise(model, z_BZ, y_B)}


def _surprise(model: CebModel, z_BZ: Tensor, y_B: Tensor) -> Tensor:
    return cross_entropy(model.logits(z_BZ), y_B, reduction="none").double()
