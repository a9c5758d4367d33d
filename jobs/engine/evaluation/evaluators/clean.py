"""Top-1 and top-5 accuracy on the images as they are, of the test set or held out of training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import Clean, CleanHoldout, Top5, tag
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.models import CebModel


def evaluate(
    model: CebModel, context: EvaluationContext, benchmark: Clean | CleanHoldout, seed: int
) -> Iterator[ImageValues]:
    """Yield `clean`, or `clean_holdout` over the images held out of training: the accuracy over mean encodings. Raises
    InputError if nothing was held out."""
    name = tag(benchmark)
    images = context.load_images("holdout") if isinstance(benchmark, CleanHoldout) else context.images

    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        yield ImageValues(name, "accuracy", samples_B, model.classify(x_BCHW).argmax(dim=1) == y_B)

    return context.each_batch(measure_batch, benchmark.subset or None, images=images)


def top5(model: CebModel, context: EvaluationContext, benchmark: Top5, seed: int) -> Iterator[ImageValues]:
    """Yield `top5`: True where the label's logit over the mean encoding is among the five largest, or among all of
    fewer classes."""

    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        logits_BK = model.classify(x_BCHW)
        largest_B5 = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
        yield ImageValues("top5", "accuracy", samples_B, (largest_B5 == y_B[:, None]).any(dim=1))

    return context.each_batch(measure_batch, benchmark.subset or None)
