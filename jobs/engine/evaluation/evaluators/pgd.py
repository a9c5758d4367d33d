"""Accuracy, and success where there is a target, under projected gradient descent.

Shapes: B images of a batch, T of them that are still attacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.benchmarks import Pgd, column, default_step_size
from experiments.spec import Part
from jobs.engine import randomness
from jobs.engine.attacks.pgd import search
from jobs.engine.attacks.random_start import random_start
from jobs.engine.device import to_device
from jobs.engine.evaluation.evaluators import limits
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues
from jobs.engine.evaluation.evaluators.own import own_loss
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Pgd, seed: int) -> Iterator[ImageValues]:
    """Yield

    - `pgd_linf` or `pgd_l2`: whether the image is right at the end of every restart
    - `…_success`, where there is a target: whether some restart ends in the target's class; over all images for
      random targets, for a given class over the images of other classes that are right on clean
    - `zero_gradient_share`: whether the attack stood still somewhere for want of a gradient

    All images are attacked, those that are wrong already too: an image the attack corrects counts as right.
    """
    limits.check(benchmark, context.images.info)
    classes = context.images.info.classes
    name, success = column(benchmark, "accuracy"), column(benchmark, "success")

    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        target_B = targets(benchmark.target, y_B, samples_B, classes, seed)
        outcome = attack(model.classify, samples_B, x_BCHW, y_B, benchmark, seed, target_B)
        yield ImageValues(name, "accuracy", samples_B, outcome.right_B)
        yield ImageValues("zero_gradient_share", "share", samples_B, outcome.zero_gradient_B)
        if target_B is None:
            return
        counted_B = torch.ones_like(outcome.right_B)
        if benchmark.target != "random":
            with torch.no_grad():
                counted_B = (model.classify(x_BCHW).argmax(dim=1) == y_B) & (y_B != target_B)
        yield ImageValues(success, "success", samples_B[counted_B.to(samples_B.device)], outcome.hit_B[counted_B])

    return context.each_batch(measure_batch, benchmark.subset)


def targets(target: int | str, y_B: Tensor, samples_B: Tensor, classes: int, seed: int) -> Tensor | None:
    """Return the class that each image is pushed to: none, the given one, or (label + U{1..K-1}) mod K, by seed and
    sample."""
    if target == "none":
        return None
    if isinstance(target, int):
        return torch.full_like(y_B, target)
    drawn_B1 = randomness.uniform(seed, "attack_target", 0, to_device(samples_B, y_B.device), 1)
    return (y_B + 1 + (drawn_B1[:, 0] * (classes - 1)).long()) % classes


@dataclass(frozen=True)
class AttackOutcome:
    """The ends of all restarts of an attack, each of shape (B,) and bool."""

    right_B: Tensor
    """Right at the end of every restart."""
    hit_B: Tensor
    """In the target's class at the end of some restart; without targets, all False."""
    zero_gradient_B: Tensor
    """The gradient was all zero at some step."""


def attack(
    logits_of: Callable[[Tensor], Tensor],
    samples_B: Tensor,
    x_BCHW: Tensor,
    y_B: Tensor,
    benchmark: Pgd,
    seed: int,
    target_B: Tensor | None = None,
) -> AttackOutcome:
    """Attack every image from one start after another until it is lost: wrong, or in the target's class.

    A lost image stays lost, so a further restart attacks the remaining ones only.
    """
    right_B, hit_B, zero_B = (torch.full_like(y_B, value, dtype=torch.bool) for value in (True, False, False))
    for restart in range(benchmark.restarts):
        todo_T = (right_B if target_B is None else ~hit_B).nonzero()[:, 0]
        if not len(todo_T):
            break
        x_TCHW, y_T = x_BCHW[todo_T], y_B[todo_T]
        target_T = None if target_B is None else target_B[todo_T]
        options = {"norm": benchmark.norm, "eps": benchmark.eps}
        start_TCHW = None
        if benchmark.random_start:
            # By the image's index, so that its starts do not depend on the images that are still attacked.
            samples_T = samples_B[todo_T.to(samples_B.device)]
            start_TCHW = random_start(x_TCHW, **options, seed=seed, samples_B=samples_T, epoch=restart)  # type: ignore[arg-type]
        attacked = search(
            logits_of,
            x_TCHW,
            y_T,
            **options,  # type: ignore[arg-type]
            steps=benchmark.steps,
            step_size=benchmark.step_size or default_step_size(benchmark.eps, benchmark.steps),
            start_BCHW=start_TCHW,
            loss=own_loss(benchmark.loss) if isinstance(benchmark.loss, Part) else benchmark.loss,
            target_B=target_T,
        )
        with torch.no_grad():
            class_T = logits_of(attacked.x_BCHW).argmax(dim=1)
        right_B[todo_T] &= class_T == y_T
        zero_B[todo_T] |= attacked.zero_gradient_B
        if target_T is not None:
            hit_B[todo_T] = class_T == target_T
    return AttackOutcome(right_B, hit_B, zero_B)
