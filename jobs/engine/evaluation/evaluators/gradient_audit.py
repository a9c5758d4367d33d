"""Whether the gradients that attacks follow say anything about the network. Shapes: B images of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from experiments.benchmarks import GradientAudit, Loss, Pgd, largest_eps
from jobs.engine.attacks.pgd import gradient
from jobs.engine.attacks.square import black_box
from jobs.engine.evaluation.evaluators import limits
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.evaluation.evaluators.pgd import attack
from jobs.engine.models import CebModel

MORE = 5
"""Times the steps, and restarts, of the attack with more of both."""


def evaluate(model: CebModel, context: EvaluationContext, benchmark: GradientAudit, seed: int) -> Iterator[ImageValues]:
    """Yield, for PGD with random starts and the step rule 4/3 eps/n on all images, whether the image is right

    - `audit_white_box`: behind every attack below that follows gradients within `eps`
    - `audit_pgd`: behind `steps` steps along the cross-entropy's
    - `audit_more`: behind 5 restarts of 5 times the steps too
    - `audit_losses`: behind as many steps along the margin's and, of three classes or more, the DLR's too
    - `audit_large_eps`: behind the first attack in a ball that holds every image
    - `audit_square`: behind the black-box attack

    and `audit_square_alone`, whether the black-box attack alone broke it; `audit_zero_gradient`, whether the
    cross-entropy's gradient is all zero at the image.
    """
    limits.check(benchmark, context.images.info)

    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        right = _attacks(model, samples_B, x_BCHW, y_B, benchmark, seed, context)
        alone_B = right["audit_white_box"] & ~right["audit_square"]
        zero_B = gradient(model.classify, x_BCHW, y_B).flatten(1).eq(0).all(dim=1)
        yield from (ImageValues(name, "accuracy", samples_B, right_B) for name, right_B in right.items())
        yield ImageValues("audit_square_alone", "share", samples_B, alone_B)
        yield ImageValues("audit_zero_gradient", "share", samples_B, zero_B)

    return context.each_batch(measure_batch, benchmark.subset)


def _attacks(
    model: CebModel,
    samples_B: Tensor,
    x_BCHW: Tensor,
    y_B: Tensor,
    benchmark: GradientAudit,
    seed: int,
    context: EvaluationContext,
) -> dict[str, Tensor]:
    def classify(x_bCHW: Tensor) -> Tensor:
        context.check_stop()  # a batch takes thousands of passes
        return model.classify(x_bCHW)

    def under(eps: float = benchmark.eps, loss: Loss = "cross_entropy", more: int = 1) -> Tensor:
        steps = benchmark.steps * more
        asked = Pgd(norm=benchmark.norm, eps=eps, steps=steps, restarts=more, loss=loss)
        return attack(classify, samples_B, x_BCHW, y_B, asked, seed).right_B

    plain_B = under()
    more_B, losses_B = plain_B & under(more=MORE), plain_B & under(loss="margin")
    if context.images.info.classes > 2:
        losses_B &= under(loss="dlr")
    with torch.no_grad():
        white_box_B = more_B & losses_B & (model.classify(x_BCHW).argmax(dim=1) == y_B)
    options = {"norm": benchmark.norm, "eps": benchmark.eps, "queries": benchmark.queries, "seed": seed}
    square_B = black_box(classify, x_BCHW, y_B, samples_B, **options)  # type: ignore[arg-type]
    return {
        "audit_white_box": white_box_B,
        "audit_pgd": plain_B,
        "audit_more": more_B,
        "audit_losses": losses_B,
        "audit_large_eps": under(eps=largest_eps(benchmark.norm, context.images.info)),
        "audit_square": square_B,
    }
