"""Calibration of the confidence: expected calibration error, negative log likelihood and Brier score.

Shapes: B images of a batch, M images in all, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from experiments.benchmarks import Calibration
from jobs.engine.evaluation.evaluators.context import EvaluationContext, ImageValues, Measurement, Summary
from jobs.engine.models import CebModel


def evaluate(model: CebModel, context: EvaluationContext, benchmark: Calibration, seed: int) -> Iterator[Measurement]:
    """Yield, over mean encodings, `ece`, and for each image

    - `nll` = -log c(y|z), in nats
    - `brier` = sum over k of (c(k|z) - [k = y])^2, from 0 to 2

    and for the reliability diagram of each bin that has images, mean confidence and accuracy: `bin_07_confidence`,
    `bin_07_accuracy`.
    """

    @torch.no_grad()
    def measure_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[ImageValues]:
        log_p_BK = model.classify(x_BCHW).double().log_softmax(dim=1)
        p_BK = log_p_BK.exp()
        confidence_B, class_B = p_BK.max(dim=1)
        yield ImageValues("nll", "nats", samples_B, -log_p_BK.gather(1, y_B[:, None])[:, 0])
        yield ImageValues("brier", "score", samples_B, (p_BK - one_hot(y_B, p_BK.shape[1])).square().sum(dim=1))
        yield ImageValues("confidence", "share", samples_B, confidence_B)
        yield ImageValues("right", "share", samples_B, class_B == y_B)

    columns = {column.name: column for column in context.each_batch(measure_batch, benchmark.subset or None)}
    if columns:
        confidence_M, right_M = columns["confidence"].values_M, columns["right"].values_M
        error = expected_calibration_error(confidence_M, right_M, benchmark.bins)
        yield Summary("ece", "share", len(right_M), error)
        yield from (columns["nll"], columns["brier"])
        bin_M = bin_numbers(confidence_M, benchmark.bins)
        for number in sorted(set(bin_M.tolist())):
            in_bin_M = bin_M == number
            for name, values_M in (("confidence", confidence_M), ("accuracy", right_M)):
                mean = values_M[in_bin_M].double().mean().item()
                yield Summary(f"bin_{number:02d}_{name}", "share", int(in_bin_M.sum()), mean)


def expected_calibration_error(confidence_M: Tensor, right_M: Tensor, bins: int) -> float:
    """Return the mean over images of |accuracy - mean confidence| of the image's bin (Guo et al., 2017, eq. 3), a
    fraction.

    `bins` are of equal width, each with its lower end. torchmetrics computes the same, which tests compare, but takes
    seconds to import.
    """
    bin_M = bin_numbers(confidence_M, bins)
    excess_M = confidence_M.double() - right_M.double()
    excess_of_bins = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_M, excess_M)
    return (excess_of_bins.abs().sum() / len(right_M)).item()


def bin_numbers(confidence_M: Tensor, bins: int) -> Tensor:
    """Return the bin of each image, int64 from 0."""
    return (confidence_M * bins).long().clamp(max=bins - 1)
