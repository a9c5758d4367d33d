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
from jobs.engine.evaluation.evaluators.test_set import Found, Subject
from jobs.engine.models import CebModel

Benchmark = ImagenetA | ImagenetR | ImagenetSketch | ImagenetV2 | Cifar101


def evaluate(model: CebModel, subject: Subject, benchmark: Benchmark, seed: int) -> Iterator[Found]:
    """Yield whether the largest logit over the mean encoding is the label's: among those of the classes that the set
    has images of, and for sets of some classes (`imagenet_a`) also among all (`imagenet_a_1000`)."""
    images = _images(benchmark, subject)
    present_K = torch.zeros(subject.images.info.classes, dtype=torch.bool)
    present_K[images.labels_N] = True
    among: dict[str, Tensor] = dict(zip(measures(benchmark), (present_K, torch.ones_like(present_K)), strict=False))

    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        logits_BK = model.classify(x_BCHW)
        for name, chosen_K in among.items():
            class_B = logits_BK.masked_fill(~chosen_K.to(logits_BK.device), -torch.inf).argmax(dim=1)
            yield Found(name, "accuracy", samples_B, class_B == y_B)

    return subject.each_batch(of_batch, images=images)


def _images(benchmark: Benchmark, subject: Subject) -> ImageSet:
    declared = other_test_set(benchmark)
    assert declared is not None
    if isinstance(benchmark, Cifar101):
        return other_test_sets.cifar10_1(declared, subject.images.info, subject.root)
    assert isinstance(subject.images, FolderImages)
    return other_test_sets.imagenet(
        declared, subject.images.info, subject.root, other_test_sets.class_names(subject.images)
    )
