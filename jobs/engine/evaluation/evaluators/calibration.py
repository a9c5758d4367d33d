"""Whether confidence is right: expected calibration error, negative log likelihood and Brier score.

Shapes: B images of a batch, M images in all, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from experiments.benchmarks import Calibration
from jobs.engine.evaluation.evaluators.test_set import Found, Subject, Summary
from jobs.engine.models import CebModel


def evaluate(model: CebModel, subject: Subject, benchmark: Calibration, seed: int) -> Iterator[Found | Summary]:
    """Yield, over mean encodings, `ece`, and for each image

    - `nll` = -log c(y|z), in nats
    - `brier` = sum over k of (c(k|z) - [k = y])^2, from 0 to 2

    and for the reliability diagram of each bin that has images, mean confidence and accuracy: `bin_07_confidence`,
    `bin_07_accuracy`.
    """

    @torch.no_grad()
    def of_batch(samples_B: Tensor, x_BCHW: Tensor, y_B: Tensor) -> Iterator[Found]:
        log_p_BK = model.classify(x_BCHW).double().log_softmax(dim=1)
        p_BK = log_p_BK.exp()
        confidence_B, class_B = p_BK.max(dim=1)
        yield Found("nll", "nats", samples_B, -log_p_BK.gather(1, y_B[:, None])[:, 0])
        yield Found("brier", "score", samples_B, (p_BK - one_hot(y_B, p_BK.shape[1])).square().sum(dim=1))
        yield Found("confidence", "share", samples_B, confidence_B)
        yield Found("right", "share", samples_B, class_B == y_B)

    found = {one.name: one for one in subject.each_batch(of_batch)}
    if found:
        confidence_M, right_M = found["confidence"].values_M, found["right"].values_M
        error = expected_calibration_error(confidence_M, right_M, benchmark.bins)
        yield Summary("ece", "share", len(right_M), error)
        yield from (found["nll"], found["brier"])
        bin_M = bins_of(confidence_M, benchmark.bins)
        for number in sorted(set(bin_M.tolist())):
            in_bin_M = bin_M == number
            for name, values_M in (("confidence", confidence_M), ("accuracy", right_M)):
                mean = values_M[in_bin_M].double().mean().item()
                yield Summary(f"bin_{number:02d}_{name}", "share", int(in_bin_M.sum()), mean)


def expected_calibration_error(confidence_M: Tensor, right_M: Tensor, bins: int) -> float:
    """The mean over images of |accuracy - mean confidence| of the image's bin (Guo et al., 2017, eq. 3), a fraction.

    `bins` are of equal width, each with its lower end; torchmetrics, which tests compare it with, takes seconds to
    import.
    """
    bin_M = bins_of(confidence_M, bins)
    excess_M = confidence_M.double() - right_M.double()
    excess_of_bins = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_M, excess_M)
    return (excess_of_bins.abs().sum() / len(right_M)).item()


def bins_of(confidence_M: Tensor, bins: int) -> Tensor:
    """The bin of each image, int64 from 0."""
    return (confidence_M * bins).long().clamp(max=bins - 1)
