"""Accuracy under projected gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from experiments.benchmarks import Pgd, column, eps_text
from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from jobs.engine.attacks.pgd import search
from jobs.engine.attacks.start import random_start
from jobs.engine.evaluators.subject import Found, Subject, found
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: Pgd, seed: int) -> Iterator[Found]:
    """Yield `pgd_linf` or `pgd_l2`, whether the last iterate is still classified right, and
    `zero_gradient_share`, whether the attack stood still somewhere for want of a gradient.

    All images are attacked, those that are wrong already too: an image the attack corrects counts as right.
    """
    _check(benchmark, subject.images.info)
    name = column(benchmark, "accuracy")
    parts = []
    for samples_B, x_BCHW, y_B in subject.batches(benchmark.subset):
        start_BCHW = None
        if benchmark.random_start:
            start_BCHW = random_start(x_BCHW, norm=benchmark.norm, eps=benchmark.eps, seed=seed, samples_B=samples_B)
        attacked = search(
            model.classify,
            x_BCHW,
            y_B,
            norm=benchmark.norm,
            eps=benchmark.eps,
            steps=benchmark.steps,
            step_size=benchmark.step_size or 4 / 3 * benchmark.eps / benchmark.steps,
            start_BCHW=start_BCHW,
        )
        with torch.no_grad():
            right_B = model.classify(attacked.x_BCHW).argmax(dim=1) == y_B
        parts.append((name, "accuracy", samples_B, right_B))
        parts.append(("zero_gradient_share", "share", samples_B, attacked.zero_gradient_B))
    yield from found(parts)


def _check(benchmark: Pgd, info: DatasetInfo) -> None:
    """InputError for a ball that holds every image, whatever the one in its centre."""
    pixels = info.channels * info.size**2
    largest = 1.0 if benchmark.norm == "linf" else math.sqrt(pixels)
    if benchmark.eps > largest:
        raise InputError(
            f"pgd on {info.name}",
            f"eps {eps_text(benchmark.eps)} is larger than the range of images in {benchmark.norm}",
            f"at most {largest:g} in [0, 1] pixel units",
        )
    if benchmark.subset is not None and benchmark.subset > info.test:
        raise InputError(f"pgd on {info.name}", f"a subset of {benchmark.subset:,} images", f"there are {info.test:,}")
