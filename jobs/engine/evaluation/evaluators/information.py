"""The information that a code z has about its image, over z drawn from e(z|x). In nats.

Shapes: B images, Z dimensions of z, P parameters of e(z|x).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.benchmarks import Information, TrainInformation
from jobs.engine import randomness
from jobs.engine.device import to_device
from jobs.engine.evaluation.evaluators.context import BatchFn, EvaluationContext, ImageValues
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Information, seed: int) -> Iterator[ImageValues]:
    """Yield for each image the mean over `benchmark.samples` draws of

    - `rate` = log e(z|x) - log m(z), whose mean bounds I(X;Z) from above; not for xent, which has no m
    - `residual_information` = log e(z|x) - log b(z|y), which bounds I(X;Z|Y); for ceb and cceb, which have b
    - `conditional_entropy` = -log c(y|z), which bounds H(Y|Z); for xent, which has no noise, at z = f(x)
    """

    return context.each_batch(_batch_fn(model, benchmark.samples, seed), benchmark.subset or None)


def evaluate_train(
    model: CebModel, context: EvaluationContext, benchmark: TrainInformation, seed: int
) -> Iterator[ImageValues]:
    """Yield the same over the images that the model was trained on, without augmentation, as `rate_train`, …"""
    measure_batch = _batch_fn(model, benchmark.samples, seed, "_train")
    return context.each_batch(measure_batch, benchmark.subset, images=context.load_images("train"), part="train")


def _batch_fn(model: CebModel, samples: int, seed: int, suffix: str = "") -> BatchFn:
    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        encoding_BP = model(x_BCHW)
        f_BZ = model.mean_of(encoding_BP)
        # Of xent: it draws no z, so that one value at f(x) is exact.
        if model.marginal is None:
            yield ImageValues(f"conditional_entropy{suffix}", "nats", samples_B, _conditional_entropy(model, f_BZ, y_B))
            return
        noises_BZ = (_noise(f_BZ, samples_B, seed, f"information{suffix}", number) for number in range(samples))
        draws = [_draw(model, encoding_BP, model.sample(encoding_BP, noise_BZ), y_B) for noise_BZ in noises_BZ]
        for name in draws[0]:
            mean_B = torch.stack([values[name] for values in draws]).mean(dim=0)
            yield ImageValues(f"{name}{suffix}", "nats", samples_B, mean_B)

    return measure_batch


def _noise(f_BZ: Tensor, samples_B: Tensor, seed: int, stream: str, number: int) -> Tensor:
    """Return the noise of one z for each image; the draw's number stands where training has the epoch."""
    return randomness.normal(seed, stream, number, to_device(samples_B, f_BZ.device), f_BZ.shape[1], f_BZ.dtype)


def _draw(model: CebModel, encoding_BP: Tensor, z_BZ: Tensor, y_B: Tensor) -> dict[str, Tensor]:
    """Return the bounds at one z for each image, by name."""
    log_e_B = model.log_encoder(z_BZ, encoding_BP).double()
    values = {"rate": log_e_B - model.log_marginal(z_BZ)}
    if model.backward_encoder is not None:
        values["residual_information"] = log_e_B - model.log_backward_encoder(z_BZ, y_B)
    return values | {"conditional_entropy": _conditional_entropy(model, z_BZ, y_B)}


def _conditional_entropy(model: CebModel, z_BZ: Tensor, y_B: Tensor) -> Tensor:
    return cross_entropy(model.logits(z_BZ), y_B, reduction="none").double()
