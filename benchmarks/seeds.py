"""The interval of `report --compare` where the truth is known: how often it covers it, and how wide it is.

    python benchmarks/seeds.py [--trials 5000] [--seed 1] [--images 360 10000]

Two families of networks meet the same images. Image i is right in seed s of a family with probability
Phi(difficulty_i + effect_s), independently given these: a probit model with normal effects, so that the true accuracy
has a closed form. Difficulties have the standard deviation 2, with which two seeds of a family of 90% disagree on 9% of
the images, and correlate by 0.8 between the families. The effects of seeds are scaled so that accuracy has the standard
deviation that a column names, in points. `paired`: both families have the same seeds, whose effects correlate by 0.5;
`independent`: each has its own. The families are equally accurate.

A cell: the share of trials whose 95% interval covers the true difference; its mean width in points, and in brackets
that of an oracle who knows the variances (2 x 1.96 standard deviations of the difference over the trials). Beside them,
over the cells of the line, the coverage of an interval over images alone and of Student's t (Welch's) over seeds alone.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from measure import head, machine, row
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from cebctl.report.comparison.variance_components import Spread, estimate_spread

Array = NDArray[Any]

DIFFICULTY = 2.0
"""Standard deviation of images' difficulty, on the probit scale."""
SHARED = 0.8
"""Correlation of an image's difficulty for A and for B."""
PAIRED = 0.5
"""Correlation of the effects of one seed in A and in B."""
SDS = (0.0, 1.0, 2.0, 4.0)
ACCURACIES = (0.5, 0.9)
IMAGES = (360, 10_000)
DESIGNS = (
    *(("paired", k, k) for k in (3, 5, 10)),
    *(("independent", k, k) for k in (3, 5, 10)),
    *(("independent", *k) for k in ((3, 5), (5, 10), (10, 3))),
)
ALPHA = 0.05
Design = tuple[str, int, int]
"""`paired` or `independent`, and the seeds of A and of B."""
AT_ONCE = 4_000_000
"""Networks x images of one draw."""
POOLED = 1000
"""Trials from which on cells are shared among processes."""
_GRID = np.linspace(-4.5, 4.5, 512)


@dataclass(frozen=True)
class Family:
    """A population of networks, by its mean accuracy and the standard deviation of accuracy over seeds, fractions."""

    accuracy: float
    sd: float

    @cached_property
    def effect(self) -> float:
        """The standard deviation of a seed's effect on the probit scale."""
        if not self.sd:
            return 0.0
        return float(brentq(lambda effect: self._sd(effect) - self.sd, 1e-6, 10.0))

    def location(self, effect: float) -> float:
        """The mean of difficulties: E Phi(N(m, v)) = Phi(m / sqrt(1 + v))."""
        return float(ndtri(self.accuracy) * np.sqrt(1 + DIFFICULTY**2 + effect**2))

    def _sd(self, effect: float) -> float:
        nodes, weights = np.polynomial.hermite_e.hermegauss(60)
        accuracies = ndtr((self.location(effect) + effect * nodes) / np.sqrt(1 + DIFFICULTY**2))
        mean = np.average(accuracies, weights=weights)
        return float(np.sqrt(np.average((accuracies - mean) ** 2, weights=weights)))


def right(family: Family, difficulty: Array, effects: Array, generator: np.random.Generator) -> Array:
    """Right or wrong (trials, seeds, images), for standard normal difficulties and effects."""
    effect = family.effect
    levels = ((difficulty - _GRID[0]) / (_GRID[1] - _GRID[0]) + 0.5).clip(0, len(_GRID) - 1).astype(np.intp)
    at_level = ndtr(family.location(effect) + DIFFICULTY * _GRID + effect * effects[..., None])
    chances = np.minimum(np.rint(at_level * 65536), 65535).astype(np.uint16)
    flags = np.empty((*effects.shape, difficulty.shape[-1]), bool)
    for trial, each in enumerate(flags):
        np.less(generator.integers(0, 65536, each.shape, np.uint16), chances[trial].take(levels[trial], 1), out=each)
    return flags


def correlated(shape: tuple[int, ...], correlation: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Two standard normal arrays."""
    both, *each = (generator.standard_normal(shape, np.float32) for _ in range(3))
    common, own = np.float32(np.sqrt(correlation)), np.float32(np.sqrt(1 - correlation))
    a, b = (common * both + own * one for one in each)
    return a, b


def trials(count: int, n: int, design: Design, family: Family, generator: np.random.Generator) -> Iterator[Spread]:
    """So many comparisons of two families of this kind, some at once."""
    name, seeds_a, seeds_b = design
    step = max(1, AT_ONCE // (n * (seeds_a + seeds_b)))
    for first in range(0, count, step):
        size = min(step, count - first)
        difficulties = correlated((size, n), SHARED, generator)
        effects = correlated((size, max(seeds_a, seeds_b)), PAIRED if name == "paired" else 0.0, generator)
        a, b = (
            right(family, difficulty, effect[:, :seeds], generator)
            for difficulty, effect, seeds in zip(difficulties, effects, (seeds_a, seeds_b), strict=True)
        )
        yield estimate_spread(a, b, n, name == "paired")


@dataclass(frozen=True)
class Cell:
    """Shares of trials that cover the true difference, and mean widths, fractions."""

    coverage: float
    width: float
    oracle: float
    images_alone: float
    seeds_alone: float

    def __str__(self) -> str:
        return f"{self.coverage:.1%}; {100 * self.width:.2f} ({100 * self.oracle:.2f})"

    @classmethod
    def of(cls, spreads: list[Spread]) -> Cell:
        """Sum up trials whose true difference is 0."""
        differences = np.abs(np.concatenate([one.difference for one in spreads]))
        halves = np.concatenate([one.half_width(ALPHA) for one in spreads])
        normal = -ndtri(ALPHA / 2)
        images = np.concatenate([normal * np.sqrt(one.networks) for one in spreads])
        seeds = np.concatenate(
            [replace(one, images=0 * one.images, networks=0 * one.images).half_width(ALPHA) for one in spreads]
        )
        covered, by_images, by_seeds = (float((differences <= half).mean()) for half in (halves, images, seeds))
        oracle = 2 * normal * float(np.sqrt((differences**2).mean()))
        return cls(covered, 2 * float(halves.mean()), oracle, by_images, by_seeds)


def measured(place: tuple[int, int, int, Design, int, float, float]) -> Cell:
    """One cell: the same whatever else is measured beside it."""
    count, seed, number, design, n, accuracy, sd = place
    generator = np.random.default_rng([seed, number])
    return Cell.of(list(trials(count, n, design, Family(accuracy, sd / 100), generator)))


def main() -> None:
    """Print a line for each design, number of images and accuracy, then the least and the greatest coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    asked = parser.parse_args()
    print(f"{asked.trials:,} trials a cell, seed {asked.seed}; {machine()}, NumPy {np.__version__}\n")
    lines = list(itertools.product(DESIGNS, asked.images, ACCURACIES))
    places = [
        (asked.trials, asked.seed, number, *line, sd) for number, (line, sd) in enumerate(itertools.product(lines, SDS))
    ]
    head("seeds", "n", "accuracy", *(f"sd {sd:g}" for sd in SDS), "images alone", "seeds alone", words=3)
    everything = []
    with ProcessPoolExecutor() if asked.trials >= POOLED else nullcontext() as pool:
        cells = (pool.map if pool else map)(measured, places)
        for (name, a, b), n, accuracy in lines:
            line = [next(cells) for _ in SDS]
            numbers = f"{a}" if a == b else f"{a} against {b}"
            row(f"{name}, {numbers}", f"{n:,}", f"{accuracy:.0%}", *map(str, line), *(
                f"{min(each):.1%} … {max(each):.1%}"
                for each in ([one.images_alone for one in line], [one.seeds_alone for one in line])
            ))  # fmt: skip
            everything += [(3 in (a, b), one) for one in line]
    print()
    head("over the cells", "coverage, %", "width over the oracle's")
    for words, chosen in (("all", everything), ("with 3 seeds", [one for one in everything if one[0]])):
        shares, widths = zip(*((100 * one.coverage, one.width / one.oracle) for _, one in chosen), strict=True)
        row(f"least, {words}", f"{min(shares):.2f}", f"{min(widths):.2f}")
        row(f"greatest, {words}", f"{max(shares):.2f}", f"{max(widths):.2f}")


if __name__ == "__main__":
    main()
