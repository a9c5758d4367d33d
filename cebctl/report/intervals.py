"""Confidence intervals at 95%: Wilson's for one count, Student's t for a mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95


def wilson(correct: float, total: int) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson, 1927); fractions in [0, 1].

    Raises ValueError unless 0 <= correct <= total and total > 0.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total}")
    z = statistics.NormalDist().inv_cdf(0.5 + LEVEL / 2)
    p = correct / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def student(mean: float, std: float, n: int) -> tuple[float, float]:
    """Return Student's t interval of a mean of n >= 2 values with sample standard deviation `std`; else ValueError."""
    if n < 2:
        raise ValueError(f"an interval of {n} values")
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * std / math.sqrt(n)
    return mean - half, mean + half


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (0 for one value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
