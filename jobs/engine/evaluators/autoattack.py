"""Accuracy under AutoAttack (Croce & Hein, 2020), on mean encodings or on sampled z."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import AutoAttack, column
from experiments.errors import InputError
from jobs.engine.attacks.ensemble import autoattack
from jobs.engine.evaluators import limits
from jobs.engine.evaluators.subject import Found, Subject
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: AutoAttack, seed: int) -> Iterator[Found]:
    """Yield `autoattack_linf` or `autoattack_l2`: whether the image is right before and behind every attack.

    InputError for `rand` on a model without noise: there is no z to sample; for fewer classes than its losses need.
    """
    limits.check(benchmark, subject.images.info)
    sampled = benchmark.version == "rand"
    if sampled and model.marginal is None:
        raise InputError(
            "autoattack rand",
            "xent samples no z",
            "use standard, or leave xent out by `only: objective != xent`",
        )

    def logits_of(x_bCHW: Tensor) -> Tensor:
        subject.hear()  # a batch takes thousands of passes
        f_bZ = model.encode(x_bCHW)
        return model.logits(f_bZ + torch.randn_like(f_bZ) if sampled else f_bZ)

    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        right_B = autoattack(
            logits_of,
            x_BCHW,
            y_B,
            classes=subject.images.info.classes,
            norm=benchmark.norm,
            eps=benchmark.eps,
            version=benchmark.version,
            seed=seed,
        )
        yield Found(column(benchmark, "accuracy"), "accuracy", samples_B, right_B)

    return subject.each_batch(of_batch, benchmark.subset)
