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
    EXTRA_CORRUPTIONS,
    CommonCorruptions,
    ExtraCorruptions,
    pipelines,
    tag,
)
from experiments.errors import InputError, expected
from jobs.engine.corruptions import SEVERITIES, Corruption
from jobs.engine.data import FolderImages, ImageSet
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.evaluation.evaluators.test_set import Found, Subject
from jobs.engine.models import CebModel

PUBLISHED_QUALITY = 85
"""Of the JPEG files of ImageNet-C (make_imagenet_c.py; `optimize=True` there changes their size and no pixel)."""

SEED = 0
"""Of what is drawn for the images: the same for every run, so that all are tested on the same images."""


def evaluate(
    model: CebModel, subject: Subject, benchmark: CommonCorruptions | ExtraCorruptions, seed: int
) -> Iterator[Found]:
    """Yield, over mean encodings,

    - `fog`, …: for each image the share of severities at which it is wrong; their mean is the error that the papers
      print, the mean of those at the five severities
    - `fog/3`, …: whether it is right at a severity

    InputError if the images of the pipeline are not there, or not defined for the data.
    """
    names = CORRUPTIONS if isinstance(benchmark, CommonCorruptions) else EXTRA_CORRUPTIONS
    images_of = _pipeline(benchmark, subject, names)
    asked = min(benchmark.subset or len(subject.images), len(subject.images))
    subject.expected = asked * len(SEVERITIES) * len(names)
    for name in names:
        found: list[Found] = []
        for severity in SEVERITIES:
            part, images = f"{name}/{severity}", images_of(name, severity)
            found += subject.each_batch(partial(_right, model, part), benchmark.subset, images=images, part=part)
        if found:
            yield _averaged(name, found)
            yield from found


@torch.no_grad()
def _right(model: CebModel, name: str, samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
    yield Found(name, "accuracy", samples_B, model.classify(x_BCHW).argmax(dim=1) == y_B)


def _averaged(name: str, severities: Sequence[Found]) -> Found:
    """For each image the share of severities at which it is wrong, of those at which it was measured: of all five, but
    for files that could not be decoded."""
    samples_M = torch.cat([one.samples_M for one in severities])
    wrong_M = torch.cat([~one.values_M for one in severities]).double()
    count_N = samples_M.bincount()
    wrong_N = samples_M.bincount(weights=wrong_M)
    measured_M = count_N.nonzero()[:, 0]
    return Found(name, "error", measured_M, wrong_N[measured_M] / count_N[measured_M])


def _pipeline(
    benchmark: CommonCorruptions | ExtraCorruptions, subject: Subject, names: Sequence[str]
) -> Callable[[str, int], ImageSet]:
    """From a corruption and a severity to the images; what they need is checked to be there before any is used."""
    images, root = subject.images, subject.root
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
    other_test_sets.check_imagenet_c(names, root)
    classes = other_test_sets.class_names(images)
    crop: Literal["evaluation"] | None = "evaluation" if benchmark.pipeline == "official-recrop" else None
    return lambda name, severity: replace(other_test_sets.imagenet_c(name, severity, info, root, classes), crop=crop)


def _generated(images: ImageSet, name: str, severity: int, jpeg_quality: int | None = None) -> ImageSet:
    digest = f"{images.digest} {name}/{severity} of seed {SEED}"
    return replace(images, then=Corruption(name, severity, SEED, jpeg_quality), digest=digest)
