"""Two runs, or two families of seeds, on the same images: the difference, its interval and p-value.

A pure function of the images that each got right. The interval is over seeds and images where both sides have
several seeds, else over images alone; `cebctl.report.comparison.variance_components` says how it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cebctl.report.comparison import variance_components
from cebctl.report.comparison.variance_components import Spread
from cebctl.report.intervals import LEVEL


@dataclass(frozen=True)
class Comparison:
    """A against B under one benchmark."""

    benchmark: str
    n: int
    """Images that both were measured on."""
    seeds_a: int
    seeds_b: int
    paired: bool
    """The sides have the same seeds, which are taken in pairs."""
    a: int
    """Right by A, over all its seeds."""
    b: int
    a_only: int
    """Images that more of A's seeds got right than of B's, in shares; with one seed each, that only A got right."""
    b_only: int
    p: float
    """Two-sided, of no difference; below 0.05 if and only if [low, high] excludes 0."""
    low: float
    high: float
    """95% interval of accuracy(A) - accuracy(B), a fraction."""
    spread: Spread
    at_once: int = 1
    """How many comparisons the corrected numbers are corrected for."""
    p_corrected: float = 1.0
    """By Holm (1979)."""
    low_corrected: float = -1.0
    high_corrected: float = 1.0
    """By Bonferroni: all intervals at once cover with 95%."""

    @property
    def accuracy_a(self) -> float:
        return self.a / (self.n * self.seeds_a)

    @property
    def accuracy_b(self) -> float:
        return self.b / (self.n * self.seeds_b)

    @property
    def difference(self) -> float:
        """Return accuracy(A) - accuracy(B), a fraction."""
        return self.accuracy_a - self.accuracy_b

    @property
    def is_over_seeds(self) -> bool:
        """Whether the interval is over seeds as well as images."""
        return bool(self.spread.seeds)


Flags = Sequence[bool]
"""Right or not, image by image, of one run."""


def compare(
    benchmark: str, a: Sequence[Flags], b: Sequence[Flags], n: int | None = None, paired: bool = False
) -> Comparison:
    """Compare the images that the seeds of A and of B got right; `n` is the number of measured images if not all.

    `paired`: the sides have the same seeds in the same order. Images that were not measured are wrong in all, as
    `jobs.per_sample` has them. ValueError if the runs differ in length or there are no images.
    """
    import numpy as np

    lengths = {len(flags) for flags in (*a, *b)}
    n = max(lengths, default=0) if n is None else n
    if len(lengths) != 1 or not n:
        raise ValueError(f"{[len(flags) for flags in a]} images against {[len(flags) for flags in b]}")
    right_a, right_b = np.array(a, bool), np.array(b, bool)
    of_images = right_a.sum(0) * len(b) - right_b.sum(0) * len(a)
    spread = variance_components.estimate_spread(right_a, right_b, n, paired)
    return correct_multiple([
        Comparison(
            benchmark, n, len(a), len(b), paired, int(right_a.sum()), int(right_b.sum()), int((of_images > 0).sum()),
            int((of_images < 0).sum()), spread.p_value(), *_interval(spread, 1 - LEVEL), spread=spread,
        )
    ])[0]  # fmt: skip


def correct_multiple(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with p-values and intervals that allow for all of them at once.

    p by Holm (1979), which needs no independence: the i-th smallest of m by m - i + 1, never below a smaller one's.
    Intervals by Bonferroni, each of 1 - 0.05 / m.
    """
    m = len(comparisons)
    p_corrected, least = {}, 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda index: comparisons[index].p)):
        least = max(least, min(1.0, (m - rank) * comparisons[index].p))
        p_corrected[index] = least
    return [
        replace(comparison, at_once=m, p_corrected=p_corrected[index], low_corrected=low, high_corrected=high)
        for index, comparison in enumerate(comparisons)
        for low, high in (_interval(comparison.spread, (1 - LEVEL) / m),)
    ]


def _interval(spread: Spread, alpha: float) -> tuple[float, float]:
    difference, half = float(spread.difference), float(spread.half_width(alpha))
    return max(-1.0, difference - half), min(1.0, difference + half)


@dataclass(frozen=True)
class Detection:
    """The seeds that a difference would need."""

    points: float
    """The difference, in points of accuracy."""
    seeds: int | None
    """The fewest on each side; None where no number is enough."""
    least: float
    """The least difference that these images can show with any number of seeds, a fraction."""
    alpha: float
    power: float


def estimate_detection(comparison: Comparison, points: float) -> Detection | None:
    """Return the seeds for a difference of so many points, by the observed variances; None if a side has one seed."""
    if not comparison.is_over_seeds:
        return None
    alpha = (1 - LEVEL) / comparison.at_once
    seeds = variance_components.seeds_needed(comparison.spread, points / 100, alpha)
    return Detection(
        points, seeds, variance_components.least_detectable(comparison.spread, alpha), alpha, variance_components.POWER
    )
