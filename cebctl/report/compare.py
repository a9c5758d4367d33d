"""Two runs, or two families of seeds, on the same images: a paired test, and a paired bootstrap interval.

A pure function of what each got right, image by image. Everything is over images: training again would give other
networks, and that spread is not in these intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
    seeds_a: int
    seeds_b: int
    a: int
    """Right by A, over all its seeds."""
    b: int
    a_only: int
    """Images that more of A's seeds got right than of B's, in shares; with one seed each, that only A got right."""
    b_only: int
    p: float
    """Two-sided: of a difference at least as large if each image's were as likely the other way round."""
    low: float
    high: float
    """95% interval of accuracy(A) - accuracy(B), a fraction: percentiles of the paired bootstrap."""

    @property
    def accuracy_a(self) -> float:
        return self.a / (self.n * self.seeds_a)

    @property
    def accuracy_b(self) -> float:
        return self.b / (self.n * self.seeds_b)

    @property
    def difference(self) -> float:
        """accuracy(A) - accuracy(B), a fraction."""
        return self.accuracy_a - self.accuracy_b


Flags = Sequence[bool]
"""Right or not, image by image, of one run."""


def compare(benchmark: str, a: Sequence[Flags], b: Sequence[Flags], n: int | None = None) -> Comparison:
    """Compare what the seeds of A and of B got right; `n` is how many images were measured if not all.

    Images that were not measured are wrong in all, as `jobs.per_sample` has them. ValueError if the runs differ in
    length or there are no images.
    """
    lengths = {len(flags) for flags in (*a, *b)}
    n = max(lengths, default=0) if n is None else n
    if len(lengths) != 1 or not n:
        raise ValueError(f"{[len(flags) for flags in a]} images against {[len(flags) for flags in b]}")
    right_a, right_b = [sum(image) for image in zip(*a, strict=True)], [sum(image) for image in zip(*b, strict=True)]
    # Exact: in units of 1 / (seeds of A * seeds of B).
    differences = Counter(x * len(b) - y * len(a) for x, y in zip(right_a, right_b, strict=True))
    differences[0] += n - sum(differences.values())
    a_only, b_only = (sum(m for d, m in differences.items() if d * sign > 0) for sign in (1, -1))
    low, high = bootstrap(differences, n)
    unit = len(a) * len(b)
    p = mcnemar(a_only, b_only) if unit == 1 else sign_flips(differences)
    return Comparison(
        benchmark, n, len(a), len(b), sum(right_a), sum(right_b), a_only, b_only, p, low / unit, high / unit
    )


def mcnemar(a_only: int, b_only: int) -> float:
    """The exact two-sided p-value (McNemar, 1947): a binomial test of the images that one of the two got right."""
    from scipy.stats import binomtest

    discordant = a_only + b_only
    return float(binomtest(a_only, discordant, 0.5).pvalue) if discordant else 1.0


def sign_flips(differences: Mapping[int, int]) -> float:
    """The two-sided p-value of a randomisation test: each image's difference with either sign, `RESAMPLES` times.

    `differences` is how many images have which. With one seed each it is McNemar's test by simulation.
    """
    import numpy as np

    generator = np.random.default_rng(_SEED)
    found = abs(sum(d * m for d, m in differences.items()))
    sizes: Counter[int] = Counter()
    for difference, images in differences.items():
        sizes[abs(difference)] += images
    sums = sum(
        (size * (2 * generator.binomial(images, 0.5, RESAMPLES) - images) for size, images in sizes.items()),
        np.zeros(RESAMPLES),
    )
    return float((1 + (abs(sums) >= found).sum()) / (1 + RESAMPLES))  # itself among them: never 0


def bootstrap(differences: Mapping[int, int], n: int) -> tuple[float, float]:
    """The percentile interval of the mean difference over `RESAMPLES` draws of the n images, with a fixed seed.

    A draw of n images with replacement is one draw of how many have which difference.
    """
    import numpy as np

    values, images = (np.array(column) for column in zip(*sorted(differences.items()), strict=True))
    draws = np.random.default_rng(_SEED).multinomial(n, images / n, size=RESAMPLES)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws @ values / n, [tail, 1 - tail])
    return float(low), float(high)
