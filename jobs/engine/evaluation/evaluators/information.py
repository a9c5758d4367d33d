"""How much a code z says about its image, over z drawn from e(z|x) (FACTS section 2). In nats.

Shapes: B images, Z dimensions of z.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.benchmarks import Information, TrainInformation
from jobs.engine import randomness
from jobs.engine.device import moved
from jobs.engine.evaluation.evaluators.test_set import Found, OfBatch, Subject
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: Information, seed: int) -> Iterator[Found]:
    """Yield for each image the mean over `benchmark.samples` draws of

    - `rate` = log e(z|x) - log m(z), whose mean bounds I(X;Z) from above; not for xent, which has no m
    - `residual_information` = log e(z|x) - log b(z|y), which bounds I(X;Z|Y); for ceb and cceb, which have b
    - `conditional_entropy` = -log c(y|z), which bounds H(Y|Z); for xent, which has no noise, at z = f(x)
    """

    return subject.each_batch(_of_batch(model, benchmark.samples, seed))


def evaluate_train(model: CebModel, subject: Subject, benchmark: TrainInformation, seed: int) -> Iterator[Found]:
    """Yield the same over the images it was trained on, without augmentation, as `rate_train`, …"""
    of_batch = _of_batch(model, benchmark.samples, seed, "_train")
    return subject.each_batch(of_batch, benchmark.subset, images=subject.load("train"), part="train")


def _of_batch(model: CebModel, samples: int, seed: int, suffix: str = "") -> OfBatch:
    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        f_BZ = model.encode(x_BCHW)
        if model.marginal is None:
            yield Found(f"conditional_entropy{suffix}", "nats", samples_B, _surprise(model, f_BZ, y_B))
            return
        noises_BZ = (_noise(f_BZ, samples_B, seed, f"information{suffix}", number) for number in range(samples))
        draws = [_draw(model, f_BZ, f_BZ + noise_BZ, y_B) for noise_BZ in noises_BZ]
        for name in draws[0]:
            mean_B = torch.stack([values[name] for values in draws]).mean(dim=0)
            yield Found(f"{name}{suffix}", "nats", samples_B, mean_B)

    return of_batch


def _noise(f_BZ: Tensor, samples_B: Tensor, seed: int, stream: str, number: int) -> Tensor:
    """Of one z for each image; the draw's number stands where training has the epoch."""
    return randomness.normal(seed, stream, number, moved(samples_B, f_BZ.device), f_BZ.shape[1], f_BZ.dtype)


def _draw(model: CebModel, f_BZ: Tensor, z_BZ: Tensor, y_B: Tensor) -> dict[str, Tensor]:
    """What one z for each image says."""
    log_e_B = model.log_encoder(z_BZ, f_BZ).double()
    values = {"rate": log_e_B - model.log_marginal(z_BZ)}
    if model.backward_encoder is not None:
        values["residual_information"] = log_e_B - model.log_backward_encoder(z_BZ, y_B)
    return values | {"conditional_entropy": _surprise(model, z_BZ, y_B)}


def _surprise(model: CebModel, z_BZ: Tensor, y_B: Tensor) -> Tensor:
    return cross_entropy(model.logits(z_BZ), y_B, reduction="none").double()
