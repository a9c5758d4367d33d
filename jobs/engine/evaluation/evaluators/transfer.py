"""Accuracy on examples that PGD made on another network (v1 Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import Transfer, column, default_step_size
from jobs.engine.attacks.pgd import pgd
from jobs.engine.attacks.random_start import random_start
from jobs.engine.evaluation.evaluators import limits
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Transfer, seed: int) -> Iterator[ImageValues]:
    """Yield `transfer_linf` or `transfer_l2`: the accuracy on examples that were made on the source.

    Untargeted, by cross-entropy, from all images; the random starts are those of the tested run's own PGD.
    """
    limits.check(benchmark, context.images.info)
    source = context.load_model(benchmark.source)

    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        start_BCHW = None
        if benchmark.random_start:
            start_BCHW = random_start(x_BCHW, norm=benchmark.norm, eps=benchmark.eps, seed=seed, samples_B=samples_B)
        adversarial_BCHW = pgd(
            source.classify,
            x_BCHW,
            y_B,
            norm=benchmark.norm,
            eps=benchmark.eps,
            steps=benchmark.steps,
            step_size=benchmark.step_size or default_step_size(benchmark.eps, benchmark.steps),
            start_BCHW=start_BCHW,
        )
        with torch.no_grad():
            right_B = model.classify(adversarial_BCHW).argmax(dim=1) == y_B
        yield ImageValues(column(benchmark, "accuracy"), "accuracy", samples_B, right_B)

    return context.each_batch(measure_batch, benchmark.subset)
