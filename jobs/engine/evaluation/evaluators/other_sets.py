"""Accuracy on other test sets of the same classes: ImageNet-A, -R, -Sketch and -V2, CIFAR-10.1.

Shapes: B images of a batch, K classes of the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import Cifar101, ImagenetA, ImagenetR, ImagenetSketch, ImagenetV2, measures, other_test_set
from jobs.engine.data import FolderImages, ImageSet
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.models import CebModel

Benchmark = ImagenetA | ImagenetR | ImagenetSketch | ImagenetV2 | Cifar101


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Benchmark, seed: int) -> Iterator[ImageValues]:
    """Yield the accuracy over mean encodings among the classes that the set has images of, and for sets of some classes
    (`imagenet_a`) also among all (`imagenet_a_1000`)."""
    images = _images(benchmark, context)
    present_K = torch.zeros(context.images.info.classes, dtype=torch.bool)
    present_K[images.labels_N] = True
    among: dict[str, Tensor] = dict(zip(measures(benchmark), (present_K, torch.ones_like(present_K)), strict=False))

    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        logits_BK = model.classify(x_BCHW)
        for name, candidates_K in among.items():
            class_B = logits_BK.masked_fill(~candidates_K.to(logits_BK.device), -torch.inf).argmax(dim=1)
            yield ImageValues(name, "accuracy", samples_B, class_B == y_B)

    return context.each_batch(measure_batch, benchmark.subset or None, images=images)


def _images(benchmark: Benchmark, context: EvaluationContext) -> ImageSet:
    declared = other_test_set(benchmark)
    assert declared is not None
    if isinstance(benchmark, Cifar101):
        return other_test_sets.cifar10_1(declared, context.images.info, context.root)
    assert isinstance(context.images, FolderImages)
    return other_test_sets.imagenet(
        declared, context.images.info, context.root, other_test_sets.class_names(context.images)
    )
