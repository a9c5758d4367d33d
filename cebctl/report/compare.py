"""Two runs on the same images: McNemar's exact test, and a paired bootstrap interval of the difference.

A pure function of what each got right, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cebctl.report.intervals import LEVEL

RESAMPLES = 10_000
_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """A against B under one benchmark."""

    benchmark: str
    n: int
    """Images that both were measured on."""
    a: int
    """Right by A."""
    b: int
    a_only: int
    b_only: int
    p: float
    """McNemar's exact two-sided p-value: of a split at least as uneven as a_only : b_only if it were a coin's."""
    low: float
    high: float
    """95% interval of accuracy(A) - accuracy(B), a fraction: percentiles of the paired bootstrap."""

    @property
    def difference(self) -> float:
        """accuracy(A) - accuracy(B), a fraction."""
        return (self.a - self.b) / self.n


def compare(benchmark: str, a: Sequence[bool], b: Sequence[bool], n: int | None = None) -> Comparison:
    """Compare what two runs got right, image by image; `n` is how many images were measured if not all.

    Images that were not measured are wrong in both, as `jobs.per_sample` has them. ValueError if the two differ in
    length or there are no images.
    """
    n = len(a) if n is None else n
    if len(a) != len(b) or not n:
        raise ValueError(f"{len(a)} images against {len(b)}")
    a_only = sum(x and not y for x, y in zip(a, b, strict=True))
    b_only = sum(y and not x for x, y in zip(a, b, strict=True))
    low, high = bootstrap(a_only, b_only, n)
    return Comparison(benchmark, n, sum(a), sum(b), a_only, b_only, mcnemar(a_only, b_only), low, high)


def mcnemar(a_only: int, b_only: int) -> float:
    """The exact two-sided p-value (McNemar, 1947): a binomial test of the images that one of the two got right."""
    from scipy.stats import binomtest

    discordant = a_only + b_only
    return float(binomtest(a_only, discordant, 0.5).pvalue) if discordant else 1.0


def bootstrap(a_only: int, b_only: int, n: int) -> tuple[float, float]:
    """The percentile interval of the difference over `RESAMPLES` draws of the n pairs, with a fixed seed.

    A pair is a win, a loss or a tie, so a draw of n pairs with replacement is one draw of their counts.
    """
    import numpy as np

    shares = np.array([a_only, b_only, n - a_only - b_only]) / n
    counts = np.random.default_rng(_SEED).multinomial(n, shares, size=RESAMPLES)
    differences = (counts[:, 0] - counts[:, 1]) / n
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)
