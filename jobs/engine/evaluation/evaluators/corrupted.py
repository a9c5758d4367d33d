"""Errors under common corruptions, set by set: a set is a corruption at a severity, and only one is held at a time.

Shapes: B images of a batch, M images that were measured, N test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from experiments.benchmarks import (
    CORRUPTIONS,
    CORRUPTIONS_3D,
    EXTRA_CORRUPTIONS,
    Benchmark,
    CommonCorruptions,
    ExtraCorruptions,
    Imagenet3dcc,
    pipelines,
    tag,
)
from experiments.datasets import OTHER_TEST_SETS
from experiments.errors import InputError, expected
from jobs.engine.corruptions import PUBLISHED_QUALITY, SEED, SEVERITIES, Corruption
from jobs.engine.data import FolderImages, ImageSet
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.models import CebModel

Corrupted = CommonCorruptions | ExtraCorruptions | Imagenet3dcc
_NAMES: dict[type[Benchmark], tuple[str, ...]] = {
    CommonCorruptions: CORRUPTIONS,
    ExtraCorruptions: EXTRA_CORRUPTIONS,
    Imagenet3dcc: CORRUPTIONS_3D,
}


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Corrupted, seed: int) -> Iterator[ImageValues]:
    """Yield, over mean encodings,

    - `fog`, …: for each image the share of severities at which it is wrong; their mean is the error that the papers
      print, the mean of those at the five severities
    - `fog/3`, …: whether it is right at a severity

    InputError if the images of the pipeline are not there, or not defined for the data.
    """
    names = _NAMES[type(benchmark)]
    load_images = _pipeline(benchmark, context, names)
    images_per_set = min(benchmark.subset or len(context.images), len(context.images))
    context.expected = images_per_set * len(SEVERITIES) * len(names)
    for name in names:
        columns: list[ImageValues] = []
        for severity in SEVERITIES:
            part, images = f"{name}/{severity}", load_images(name, severity)
            measure_batch = partial(_accuracy, model, part)
            columns += context.each_batch(measure_batch, benchmark.subset, images=images, part=part)
        if columns:
            yield _mean_error(name, columns)
            yield from columns


@torch.no_grad()
def _accuracy(model: CebModel, name: str, samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
    yield ImageValues(name, "accuracy", samples_B, model.classify(x_BCHW).argmax(dim=1) == y_B)


def _mean_error(name: str, severities: Sequence[ImageValues]) -> ImageValues:
    """Return for each image the share of severities at which it is wrong, of those at which it was measured: of all
    five, but for files that could not be decoded."""
    samples_M = torch.cat([column.samples_M for column in severities])
    wrong_M = torch.cat([~column.values_M for column in severities]).double()
    count_N = samples_M.bincount()
    wrong_N = samples_M.bincount(weights=wrong_M)
    measured_M = count_N.nonzero()[:, 0]
    return ImageValues(name, "error", measured_M, wrong_N[measured_M] / count_N[measured_M])


def _pipeline(benchmark: Corrupted, context: EvaluationContext, names: Sequence[str]) -> Callable[[str, int], ImageSet]:
    """Return the function from a corruption and a severity to the images. Raises InputError at once, before the first
    set is measured, if a later one is missing."""
    images, root = context.images, context.root
    info, allowed = images.info, pipelines(images.info)
    if benchmark.pipeline not in allowed:
        wrong = f"{info.name} has no pipeline {benchmark.pipeline}"
        raise InputError(tag(benchmark), wrong, expected(allowed, benchmark.pipeline))
    if benchmark.pipeline in ("in-memory", "ours"):
        return partial(_generated, images)
    if benchmark.pipeline == "regenerated":
        assert isinstance(images, FolderImages)
        cropped = replace(images, crop="imagenet-c", digest=f"{images.digest} cropped and saved as ImageNet-C")
        return partial(_generated, cropped, jpeg_quality=PUBLISHED_QUALITY)
    if not isinstance(images, FolderImages):
        other_test_sets.check_cifar10_c(names, info, root)
        return lambda name, severity: other_test_sets.cifar10_c(name, severity, info, root)
    declared = OTHER_TEST_SETS["imagenet-3dcc"] if isinstance(benchmark, Imagenet3dcc) else None
    other_test_sets.check_imagenet_c(names, root, declared)
    classes = other_test_sets.class_names(images)
    crop: Literal["evaluation"] | None = "evaluation" if benchmark.pipeline == "official-recrop" else None
    return lambda name, severity: replace(
        other_test_sets.imagenet_c(name, severity, info, root, classes, declared), crop=crop
    )


def _generated(images: ImageSet, name: str, severity: int, jpeg_quality: int | None = None) -> ImageSet:
    digest = f"{images.digest} {name}/{severity} of seed {SEED}"
    return replace(images, transform=Corruption(name, severity, SEED, jpeg_quality), digest=digest)
