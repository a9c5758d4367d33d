"""How well the largest class probability tells test images from those of another data set.

Shapes: B images of a batch, M test images, N other images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import OutOfDistribution
from jobs.engine.data import ImageSet
from jobs.engine.data.resized import images_of
from jobs.engine.evaluation.evaluators.test_set import Found, Subject, Summary
from jobs.engine.models import CebModel

RECOGNISED = 0.95
"""The share of test images that is recognised where the share of others taken for them is read off."""


def evaluate(model: CebModel, subject: Subject, benchmark: OutOfDistribution, seed: int) -> Iterator[Found | Summary]:
    """Yield `ood_auroc` and `ood_fpr95` of the confidence over mean encodings."""
    others = images_of(benchmark.against, subject.images.info, subject.root)

    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        confidence_B = model.classify(x_BCHW).double().softmax(dim=1).amax(dim=1)
        yield Found("confidence", "share", samples_B, confidence_B)

    def confidence(images: ImageSet, part: str) -> Tensor:
        found = list(subject.each_batch(of_batch, benchmark.subset, images=images, part=part))
        return found[0].values_M if found else torch.empty(0)

    known_M, other_N = confidence(subject.images, "test"), confidence(others, benchmark.against)
    if len(known_M) and len(other_N):
        total = len(known_M) + len(other_N)
        yield Summary("ood_auroc", "share", total, auroc(known_M, other_N))
        yield Summary("ood_fpr95", "share", total, false_positive_rate(known_M, other_N))


def auroc(positive_M: Tensor, negative_N: Tensor) -> float:
    """The probability that a positive's score is above a negative's, equal ones counted half (Mann & Whitney, 1947)."""
    sorted_N = negative_N.sort().values
    below_M = torch.searchsorted(sorted_N, positive_M, side="left")
    not_above_M = torch.searchsorted(sorted_N, positive_M, side="right")
    return ((below_M + not_above_M).double() / 2).mean().item() / len(negative_N)


def false_positive_rate(positive_M: Tensor, negative_N: Tensor, recognised: float = RECOGNISED) -> float:
    """The share of negatives at or above the highest threshold that at least this share of positives reaches."""
    needed = math.ceil(recognised * len(positive_M))
    threshold = positive_M.sort(descending=True).values[needed - 1]
    return (negative_N >= threshold).double().mean().item()
