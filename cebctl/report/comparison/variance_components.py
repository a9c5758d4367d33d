"""The interval of a difference in accuracy over seeds and images, and the seeds that a difference needs.

Every network of a family meets the same images, so seeds and images are crossed. By Hoeffding's decomposition the
difference of two means is a constant plus uncorrelated effects of seed, image and seed x image, whatever the law of
right and wrong (Owen & Eckles 2012, section 3; Gallas 2006 for readers and cases):

    variance = (seed + interaction / n) / k  +  image / n

The first term is the variance of a mean over k seeds, known with few degrees of freedom: that of the paired differences
where both sides have the same seeds, else the sum of both sides' with Welch's degrees of freedom (Satterthwaite 1946),
as if the larger side had as few seeds as the smaller. The second is the variance over images without the interaction,
which the first holds already: the unbiased estimate of a crossed layout, not below 0. For it two images are added, one
that a single network of A alone got right and one for B (Bonett & Price 2012, for single networks), so that no error
among n images is not taken for certainty.

Each term is multiplied by its own squared quantile (Banerjee 1961): half^2 = t^2(df) seeds + t^2(n - 1) images. With
normal effects this covers at least 95% if each term alone does, however the terms depend on each other: P(Z^2 <= x) is
concave in x, and by Jensen's inequality a weighted mean does no worse. Satterthwaite's single t for the sum of both
terms does not: at three seeds it covers 92.1% where seeds are nine tenths of the variance. No interval is narrower than
that over images for these networks alone, whose variance is part of the true one however alike a few seeds came out.
`benchmarks/seeds.py` measures coverage, and the width beside that of an oracle that knows the variances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POWER = 0.8
MOST_SEEDS = 1_000_000
"""Where the search for a number of seeds ends."""
_LEAST_P = 1e-100
_NODES = 400
"""Of the quadrature over an estimated variance; a power is exact to 1e-3."""


@dataclass(frozen=True)
class Spread:
    """The estimated variance of mean(A) - mean(B), by origin; arrays where many trials are taken at once."""

    difference: Array
    seeds: tuple[Array, ...]
    """Variances of means over seeds: of the pairs of seeds, or of either side; empty where a side has one seed."""
    counts: tuple[int, ...]
    """The seeds behind each of them."""
    images: Array
    """The variance that the draw of the images adds."""
    networks: Array
    """The variance over images for these networks as they are: that of images and interaction."""
    interaction: Array
    """The part of the variance over seeds that is the interaction's."""
    n: int

    def half_width(self, alpha: float) -> Array:
        """Return half the width of the interval that misses the difference with probability `alpha`."""
        import numpy as np
        from scipy.special import stdtrit

        by_images = stdtrit(max(self.n - 1, 1), alpha / 2) ** 2
        square = by_images * self.networks
        if self.seeds:
            by_seeds = stdtrit(_welch(self.seeds, min(self.counts)), alpha / 2) ** 2
            square = np.maximum(square, by_seeds * sum(self.seeds) + by_images * self.images)
        return np.asarray(np.sqrt(square))

    def p_value(self) -> float:
        """Return the alpha whose interval just reaches 0: under 0.05 if and only if the 95% interval excludes 0."""
        from scipy.optimize import brentq

        def beyond(log_alpha: float) -> float:
            return float(self.half_width(math.exp(log_alpha))) - abs(float(self.difference))

        least = math.log(_LEAST_P)
        if beyond(0.0) >= 0:
            return 1.0
        return _LEAST_P if beyond(least) <= 0 else math.exp(brentq(beyond, least, 0.0, xtol=1e-12))


def estimate_spread(a: NDArray[Any], b: NDArray[Any], n: int, paired: bool) -> Spread:
    """Return the variance of mean(a) - mean(b), for arrays of right or wrong (..., seeds, images).

    `n` images were measured; all others are wrong in both. `paired`: row s of both has one seed.
    """
    import numpy as np

    mean_a, mean_b = _over_seeds(a), _over_seeds(b)
    images = mean_a - mean_b
    difference = images.sum(-1) / n
    squares = (images * images).sum(-1)
    fewest = min(a.shape[-2], b.shape[-2])
    over_images = (squares + 2 / fewest**2 - (n * difference) ** 2 / (n + 2)) / (n + 1) / (n + 2)
    if fewest == 1:
        return Spread(difference, (), (), over_images, over_images, np.zeros_like(over_images), n)
    pairs = [(a.astype(np.int8) - b.astype(np.int8), images)] if paired else [(a, mean_a), (b, mean_b)]
    seeds, interactions = zip(*(_crossed(side, mean, n) for side, mean in pairs), strict=True)
    counts = tuple(side.shape[-2] for side, _ in pairs)
    interaction = np.asarray(sum(interactions))
    images_alone = np.maximum(over_images - interaction, 0)
    return Spread(difference, seeds, counts, images_alone, over_images, interaction, n)


def _over_seeds(side: NDArray[Any]) -> Array:
    import numpy as np

    return np.asarray(side.sum(-2, dtype=np.int32) / side.shape[-2])


def _crossed(side: NDArray[Any], mean: Array, n: int) -> tuple[Array, Array]:
    """Return the variance of the mean of (..., k, n) over seeds, and the interaction's part of it.

    `mean` is the mean over seeds. The mean square of the interaction is the rest of the sum of squares after that of
    seeds and that of images (Searle, Casella & McCulloch 1992, section 4.3).
    """
    import numpy as np

    k = side.shape[-2]
    by_seed = side.sum(-1, dtype=np.int64) / n
    grand = by_seed.mean(-1)
    total = np.abs(side).sum((-1, -2), dtype=np.int64)  # values are -1, 0, 1: their squares
    seeds = n * ((by_seed - grand[..., None]) ** 2).sum(-1)
    images = k * ((mean * mean).sum(-1) - n * grand**2)
    residual = total - k * n * grand**2 - seeds - images
    interaction = np.maximum(residual, 0) / ((k - 1) * max(n - 1, 1))
    return np.asarray(seeds / n / (k - 1) / k), np.asarray(interaction / (k * n))


def _welch(variances: tuple[Any, ...], seeds: int) -> Any:
    """Return Satterthwaite's degrees of freedom of a sum of variances that each rest on so many seeds."""
    import numpy as np

    total, squares = sum(variances), sum(part * part for part in variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(squares > 0, total * total / squares, 1.0)
    return (seeds - 1) * ratio


# --- how many seeds ---


def seeds_needed(spread: Spread, difference: float, alpha: float, within: float | None = None) -> int | None:
    """Return the fewest seeds a side whose interval excludes 0 with `POWER` if `difference` is the true one; or, with
    `within`, whose interval lies between -`within` and `within`.

    The number of images and the variances stay as they are. None where no number of seeds is enough, or
    more than `MOST_SEEDS`. ValueError for a spread without seeds.
    """
    if not spread.seeds:
        raise ValueError("the spread over seeds is unknown")
    low, high = 1, 2
    while _power(spread, high, difference, alpha, within) < POWER:
        low, high = high, high * 2
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(spread, middle, difference, alpha, within) >= POWER else (middle, high)
    return high


def least_detectable(spread: Spread, alpha: float) -> float:
    """Return the difference that these images show with `POWER` in the limit of many seeds."""
    import numpy as np
    from scipy.special import ndtri, stdtrit

    return float((ndtri(POWER) - stdtrit(max(spread.n - 1, 1), alpha / 2)) * np.sqrt(spread.images))


def _power(spread: Spread, seeds: int, difference: float, alpha: float, within: float | None) -> float:
    """Return the probability that the interval of `seeds` seeds a side excludes 0, or lies `within`, whatever its
    estimated variance."""
    import numpy as np
    from scipy.special import chdtri, ndtr, stdtrit

    parts = tuple(float(part) * count / seeds for part, count in zip(spread.seeds, spread.counts, strict=True))
    df = float(_welch(parts, seeds))
    scale = chdtri(df, (np.arange(_NODES) + 0.5) / _NODES) / df
    square = (
        stdtrit(df, alpha / 2) ** 2 * sum(parts) * scale + stdtrit(max(spread.n - 1, 1), alpha / 2) ** 2 * spread.images
    )
    variance = sum(parts) + float(spread.images)
    if variance == 0:
        return 1.0 if within is None else float(abs(difference) < within)
    half, error = np.sqrt(square), math.sqrt(variance)
    if within is not None:
        inside = ndtr((within - difference - half) / error) - ndtr((half - within - difference) / error)
        return float(np.maximum(inside, 0).mean())
    return float((ndtr((difference - half) / error) + ndtr((-difference - half) / error)).mean())
