"""Top-1 and top-5 accuracy on the images as they are, of the test set or held out of training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import Clean, CleanHoldout, Top5, tag
from jobs.engine.evaluation.evaluators.test_set import Found, Subject
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: Clean | CleanHoldout, seed: int) -> Iterator[Found]:
    """Yield `clean`, or `clean_holdout` over the images held out of training: whether the largest logit over the mean
    encoding is the label's. InputError if nothing was held out."""
    name = tag(benchmark)
    images = subject.load("holdout") if isinstance(benchmark, CleanHoldout) else subject.images

    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        yield Found(name, "accuracy", samples_B, model.classify(x_BCHW).argmax(dim=1) == y_B)

    return subject.each_batch(of_batch, images=images)


def top5(model: CebModel, subject: Subject, benchmark: Top5, seed: int) -> Iterator[Found]:
    """Yield `top5`: whether the label's logit over the mean encoding is among the five largest, or as many as there
    are classes."""

    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        logits_BK = model.classify(x_BCHW)
        largest_B5 = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
        yield Found("top5", "accuracy", samples_B, (largest_B5 == y_B[:, None]).any(dim=1))

    return subject.each_batch(of_batch)
