"""Out-of-distribution detection: the largest class probability, or the information in z, tells test images from others.

Shapes: B images of a batch, M test images, N other images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from msgspec import UNSET, UnsetType
from torch import Tensor

from experiments.benchmarks import OutOfDistribution
from jobs.engine.data import ImageSet
from jobs.engine.data.resized import load_resized
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues, Measurement, Summary
from jobs.engine.models import CebModel

RECOGNISED = 0.95
"""The share of test images that must be recognised; the rate of false positives is read off there."""


def evaluate(
    model: CebModel, context: EvaluationContext, benchmark: OutOfDistribution, seed: int
) -> Iterator[Measurement]:
    """Yield `ood_auroc` and `ood_fpr95` of the score over mean encodings; nothing for a score that the objective has
    not."""
    if (benchmark.score == "rate" and model.marginal is None) or (
        benchmark.score == "residual_information" and model.backward_encoder is None
    ):
        return
    other_images = load_resized(benchmark.against, context.images.info, context.root)

    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        if benchmark.score is UNSET:
            confidence_B = model.classify(x_BCHW).double().softmax(dim=1).amax(dim=1)
            yield ImageValues("confidence", "share", samples_B, confidence_B)
        else:
            yield ImageValues("score", "nats", samples_B, -_information(model, x_BCHW, benchmark.score))

    def scores(images: ImageSet, part: str) -> Tensor:
        columns = list(context.each_batch(measure_batch, benchmark.subset, images=images, part=part))
        return columns[0].values_M if columns else torch.empty(0)

    test_M, other_N = scores(context.images, "test"), scores(other_images, benchmark.against)
    if len(test_M) and len(other_N):
        total = len(test_M) + len(other_N)
        yield Summary("ood_auroc", "share", total, auroc(test_M, other_N))
        yield Summary("ood_fpr95", "share", total, false_positive_rate(test_M, other_N))


def _information(model: CebModel, x_BCHW: Tensor, score: str | UnsetType) -> Tensor:
    """Return the rate, or the residual information of the predicted class, at the mean encoding, in nats, of shape
    (B,)."""
    encoding_BP = model(x_BCHW)
    f_BZ = model.mean_of(encoding_BP)
    log_e_B = model.log_encoder(f_BZ, encoding_BP).double()
    if score == "rate":
        return log_e_B - model.log_marginal(f_BZ)
    return log_e_B - model.log_backward_encoder(f_BZ, model.logits(f_BZ).argmax(dim=1))


def auroc(positive_M: Tensor, negative_N: Tensor) -> float:
    """Return the probability that a positive's score is above a negative's, equal scores counted half (Mann & Whitney,
    1947)."""
    sorted_N = negative_N.sort().values
    below_M = torch.searchsorted(sorted_N, positive_M, side="left")
    not_above_M = torch.searchsorted(sorted_N, positive_M, side="right")
    return ((below_M + not_above_M).double() / 2).mean().item() / len(negative_N)


def false_positive_rate(positive_M: Tensor, negative_N: Tensor, recognised: float = RECOGNISED) -> float:
    """Return the share of negatives at or above the highest threshold that at least this share of positives reaches."""
    needed = math.ceil(recognised * len(positive_M))
    threshold = positive_M.sort(descending=True).values[needed - 1]
    return (negative_N >= threshold).double().mean().item()
