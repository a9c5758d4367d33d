"""Accuracy under AutoAttack (Croce & Hein, 2020), over mean encodings or averaged over draws of z.

Shapes: B images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from experiments.benchmarks import EOT_DRAWS, AutoAttack, column, judged_draws
from experiments.errors import InputError
from jobs.engine.attacks.autoattack import SEQUENCES, autoattack, worst_points
from jobs.engine.evaluation.evaluators import limits
from jobs.engine.evaluation.evaluators.averaged import averaged
from jobs.engine.evaluation.evaluators.context import BatchFn, EvaluationContext, ImageValues
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: AutoAttack, seed: int) -> Iterator[ImageValues]:
    """Yield `autoattack_linf` or `autoattack_l2`

    - of `standard` and `plus`: whether the image is right, over mean encodings, before and behind every attack
    - of `rand`: whether the classifier averaged over fresh draws of z is right at the point that APGD found against an
      average over other draws; and as `unattacked_share`, whether that classifier is right at the image

    Raises InputError for `rand` on a model without noise: there is no z to sample; for fewer classes or smaller images
    than its attacks need.
    """
    limits.check(benchmark, context.images.info)
    if benchmark.version == "rand" and model.marginal is None:
        raise InputError(
            "autoattack rand",
            "xent samples no z",
            "use standard, or leave xent out by `only: objective != xent`",
        )
    if benchmark.version == "rand":
        return context.each_batch(_sampled(model, context, benchmark, seed), benchmark.subset)
    return _over_means(model, context, benchmark, seed)


def _over_means(model: CebModel, context: EvaluationContext, benchmark: AutoAttack, seed: int) -> Iterator[ImageValues]:
    """Walk the images once for each attack, which is handed those that are still right: an evaluation that is stopped
    goes on at the attack and the batch where it was."""
    attacks = SEQUENCES[benchmark.version]
    context.expected = len(attacks) * min(benchmark.subset or len(context.images), len(context.images))
    name, verdicts = column(benchmark, "accuracy"), list[ImageValues]()
    for attack in attacks:
        right = {
            sample: value
            for batch in verdicts
            for sample, value in zip(batch.samples_M.tolist(), batch.values_M.tolist(), strict=True)
        }

        def measure_batch(
            samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor, attack: str = attack, right: dict[int, bool] = right
        ) -> Iterator[ImageValues]:
            attacked = autoattack(
                _stoppable(model.classify, context),
                x_BCHW,
                y_B,
                samples_B,
                attacks=(attack,),
                norm=benchmark.norm,
                eps=benchmark.eps,
                seed=seed,
                right_B=torch.tensor([right[sample] for sample in samples_B.tolist()]) if right else None,
            )
            yield ImageValues(name, "accuracy", samples_B, attacked.right_B)

        verdicts = list(context.each_batch(measure_batch, benchmark.subset, part=attack))
    yield from verdicts


def _sampled(model: CebModel, context: EvaluationContext, benchmark: AutoAttack, seed: int) -> BatchFn:
    """Two independent samples of z: the attack knows one, and what is counted is of the other, so that a point is not
    counted by the very draws that chose it."""
    draws = judged_draws(benchmark)

    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        attacked = averaged(model, samples_B, seed=seed, stream="attacked_z", draws=max(draws, EOT_DRAWS))
        judged = averaged(model, samples_B, seed=seed, stream="judged_z", draws=draws)
        end_BCHW = worst_points(
            _stoppable(attacked, context),
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

    return measure_batch


def _stoppable(logits_of: Callable[[Tensor], Tensor], context: EvaluationContext) -> Callable[[Tensor], Tensor]:
    """Return the function that looks for a request to stop at each call: a batch takes thousands of passes."""

    def checked(x_bCHW: Tensor) -> Tensor:
        context.check_stop()
        return logits_of(x_bCHW)

    return checked
