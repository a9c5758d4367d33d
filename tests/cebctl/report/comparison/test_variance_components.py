"""The variance over seeds and images: against scipy, an analysis of variance by residuals, and the noncentral t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nct, norm, t, ttest_ind, ttest_rel

from cebctl.report.comparison.variance_components import Spread, estimate_spread, least_detectable, seeds_needed


def networks(sd: float, seeds: int, n: int, number: int, heterogeneity: float = 0.0) -> np.ndarray:
    """Right or wrong of networks of 60%, with so much spread over seeds and between images."""
    images, rng = np.random.default_rng(99), np.random.default_rng(number)
    chance = 0.6 + rng.normal(0, sd, (seeds, 1)) + images.uniform(-heterogeneity, heterogeneity, (1, n))
    return rng.random((seeds, n)) < chance


@pytest.mark.parametrize("seeds", [3, 5])
def test_without_an_effect_of_images_it_is_scipys_t(seeds: int) -> None:
    """Nothing but seeds and noise: paired t for the same seeds, Welch's for others."""
    a, b = (networks(0.05, seeds, 20_000, number) for number in (1, 2))
    for paired, test in ((True, ttest_rel(a.mean(1), b.mean(1))),
                         (False, ttest_ind(a.mean(1), b.mean(1), equal_var=False))):  # fmt: skip
        spread, interval = estimate_spread(a, b, 20_000, paired), test.confidence_interval()
        assert float(spread.difference) == pytest.approx((interval.low + interval.high) / 2)
        assert 2 * float(spread.half_width(0.05)) == pytest.approx(interval.high - interval.low, rel=0.01)
        assert spread.p_value() == pytest.approx(test.pvalue, rel=0.02)


def test_of_unequal_numbers_the_smaller_counts() -> None:
    """Equal variances of means over 3 and over 12 seeds: Welch's 4 degrees of freedom of 3 and 3, not 3.8 of 13."""
    spread = Spread(
        np.array(0.0), (np.array(1.0), np.array(1.0)), (3, 12), np.array(0.0), np.array(0.0), np.array(0.0), 100
    )
    assert float(spread.half_width(0.05)) == pytest.approx(t.ppf(0.975, 4) * 2**0.5)


def test_components_are_those_of_the_analysis_of_variance() -> None:
    a, b = (networks(0.03, 4, 500, number, 0.3) for number in (3, 4))
    for paired in (True, False):
        variance, interaction = 0.0, 0.0
        for side in [a.astype(float) - b] if paired else [a.astype(float), b.astype(float)]:
            residual = side - side.mean(1, keepdims=True) - side.mean(0, keepdims=True) + side.mean()
            interaction += (residual**2).sum() / (3 * 499) / (4 * 500)
            variance += side.mean(1).var(ddof=1) / 4
        over_images = np.append(a.mean(0) - b.mean(0), [0.25, -0.25]).var(ddof=1) / 502
        spread = estimate_spread(a, b, 500, paired)
        assert float(sum(spread.seeds)) == pytest.approx(variance)
        assert float(spread.interaction) == pytest.approx(interaction)
        assert float(spread.images) == pytest.approx(max(over_images - interaction, 0), rel=1e-9)


def test_images_that_were_not_measured_count_for_nothing() -> None:
    a, b = (networks(0.05, 3, 400, number, 0.3) for number in (5, 6))
    none = np.zeros((3, 100), bool)
    all_images, measured = (
        estimate_spread(np.hstack([a, none]), np.hstack([b, none]), 400, True),
        estimate_spread(a, b, 400, True),
    )
    assert float(all_images.half_width(0.05)) == pytest.approx(float(measured.half_width(0.05)))


def test_many_trials_at_once_are_each_their_own() -> None:
    a, b = (np.stack([networks(0.05, 3, 50, number + shift) for number in range(4)]) for shift in (10, 20))
    together = estimate_spread(a, b, 50, False).half_width(0.05)
    single = [float(estimate_spread(x, y, 50, False).half_width(0.05)) for x, y in zip(a, b, strict=True)]
    assert together.tolist() == pytest.approx(single)


def test_nothing_wrong_in_three_hundred_images_is_not_certainty() -> None:
    right = np.ones((3, 300), bool)
    assert float(estimate_spread(right, right, 300, True).half_width(0.05)) > 0


@pytest.mark.parametrize("points", [0.02, 0.05])
def test_seeds_needed_are_those_of_the_noncentral_t(points: float) -> None:
    """Pairs without an effect of images: the power of the paired t test."""
    spread = Spread(np.array(0.0), (np.array(0.03**2 / 3),), (3,), np.array(0.0), np.array(0.0), np.array(0.0), 10_000)

    def power(k: int) -> float:
        limit, shift = t.ppf(0.975, k - 1), points / 0.03 * k**0.5
        return float(nct.sf(limit, k - 1, shift) + nct.cdf(-limit, k - 1, shift))

    expected = next(k for k in range(2, 1000) if power(k) >= 0.8)
    assert seeds_needed(spread, points, 0.05) == expected


def test_where_images_are_too_few_no_number_of_seeds_is_enough() -> None:
    spread = Spread(np.array(0.0), (np.array(1e-4),), (3,), np.array(1e-4), np.array(1e-4), np.array(0.0), 360)
    assert least_detectable(spread, 0.05) == pytest.approx((norm.ppf(0.8) + t.ppf(0.975, 359)) * 0.01)
    assert seeds_needed(spread, 0.02, 0.05) is None and seeds_needed(spread, 0.04, 0.05) is not None
