"""Accuracy under AutoAttack (Croce & Hein, 2020), over mean encodings or averaged over draws of z.

Shapes: B images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from experiments.benchmarks import EOT_DRAWS, AutoAttack, column, judged_draws
from experiments.errors import InputError
from jobs.engine.attacks.ensemble import apgd, autoattack
from jobs.engine.evaluation.evaluators import limits
from jobs.engine.evaluation.evaluators.averaged import averaged
from jobs.engine.evaluation.evaluators.context import BatchFn, EvaluationContext, ImageValues
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: EvaluationContext, benchmark: AutoAttack, seed: int) -> Iterator[ImageValues]:
    """Yield `autoattack_linf` or `autoattack_l2`

    - of `standard`: whether the image is right, over mean encodings, before and behind every attack
    - of `rand`: whether the classifier averaged over fresh draws of z is right at the point that APGD found against an
      average over other draws; and as `unattacked_share`, whether that classifier is right at the image

    Raises InputError for `rand` on a model without noise: there is no z to sample; for fewer classes or smaller images
    than its attacks need.
    """
    limits.check(benchmark, subject.images.info)
    if benchmark.version == "rand" and model.marginal is None:
        raise InputError(
            "autoattack rand",
            "xent samples no z",
            "use standard, or leave xent out by `only: objective != xent`",
        )
    of_batch = _sampled if benchmark.version == "rand" else _over_means
    return subject.each_batch(of_batch(model, subject, benchmark, seed), benchmark.subset)


def _over_means(model: CebModel, subject: EvaluationContext, benchmark: AutoAttack, seed: int) -> BatchFn:
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        right_B = autoattack(
            _heard(model.classify, subject),
            x_BCHW,
            y_B,
            classes=subject.images.info.classes,
            norm=benchmark.norm,
            eps=benchmark.eps,
            seed=seed,
        )
        yield ImageValues(column(benchmark, "accuracy"), "accuracy", samples_B, right_B)

    return of_batch


def _sampled(model: CebModel, subject: EvaluationContext, benchmark: AutoAttack, seed: int) -> BatchFn:
    """Two independent samples of z: the attack knows one, and what is counted is of the other, so that a point is not
    counted by the very draws that chose it."""
    draws = judged_draws(benchmark)

    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        attacked = averaged(model, samples_B, seed=seed, stream="attacked_z", draws=max(draws, EOT_DRAWS))
        judged = averaged(model, samples_B, seed=seed, stream="judged_z", draws=draws)
        end_BCHW = apgd(
            _heard(attacked, subject),
            x_BCHW,
            y_B,
            norm=benchmark.norm,
            eps=benchmark.eps,
            seed=seed,
            samples_B=samples_B,
        )
        with torch.no_grad():
            right_B, unattacked_B = (judged(image_BCHW).argmax(dim=1) == y_B for image_BCHW in (end_BCHW, x_BCHW))
        yield ImageValues(column(benchmark, "accuracy"), "accuracy", samples_B, right_B)
        yield ImageValues("unattacked_share", "share", samples_B, unattacked_B)

    return of_batch


def _heard(logits_of: Callable[[Tensor], Tensor], subject: EvaluationContext) -> Callable[[Tensor], Tensor]:
    """Return the function with a request to stop heard at each call: a batch takes thousands of passes."""

    def heard(x_bCHW: Tensor) -> Tensor:
        subject.check_stop()
        return logits_of(x_bCHW)

    return heard
