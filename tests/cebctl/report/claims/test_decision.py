"""The rule: against scipy's tests, and how often it errs over simulated studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from cebctl.report.claims.decision import corrected_alpha, decide, seeds_to_decide
from cebctl.report.claims.evidence import Difference, spread_over_seeds
from cebctl.report.comparison.variance_components import estimate_spread
from experiments.matrix.stated_claim import StatedClaim


def claim(relation: Any = "higher", margin: float = 0.0, level: float = 0.95) -> StatedClaim:
    return StatedClaim(
        sentence="s", a="rho = 1", b="rho = 2", measure="clean", relation=relation, margin=margin, level=level
    )


@pytest.mark.parametrize(
    ("relation", "low", "high", "outcome"),
    [
        ("higher", 0.03, 0.05, "supported"), ("higher", 0.01, 0.05, "undecided"), ("higher", -0.05, 0.01, "refuted"),
        ("higher", 0.02, 0.05, "undecided"),  # an end on the margin is on neither side
        ("lower", -0.05, -0.03, "supported"), ("lower", -0.05, -0.01, "undecided"), ("lower", -0.01, 0.05, "refuted"),
        ("equivalent", -0.01, 0.01, "supported"), ("equivalent", -0.01, 0.03, "undecided"),
        ("equivalent", 0.03, 0.05, "refuted"), ("equivalent", -0.05, -0.03, "refuted"),
        ("equivalent", -0.1, 0.1, "undecided"),
    ],
)  # fmt: skip
def test_the_interval_against_the_margin(relation: str, low: float, high: float, outcome: str) -> None:
    assert decide(claim(relation, 0.02), low, high) == outcome


def test_the_correction_is_for_primary_claims() -> None:
    assert corrected_alpha(claim(), 0) == corrected_alpha(claim(), 1) == pytest.approx(0.05)
    assert corrected_alpha(claim(level=0.9), 2) == pytest.approx(0.05)


def test_over_seeds_alone_it_is_scipys_t() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(2.3, 0.1, 5).tolist(), rng.normal(2.1, 0.2, 5).tolist()
    for paired, test in ((True, ttest_rel(a, b)), (False, ttest_ind(a, b, equal_var=False))):
        spread = spread_over_seeds(a, b, 360, paired)
        low, high = Difference(0, 0, "nats", 360, spread, False, paired).interval(0.05)
        assert (low, high) == pytest.approx(tuple(test.confidence_interval()))
        assert spread.p_value() == pytest.approx(test.pvalue, rel=1e-6)


def test_one_seed_has_no_spread() -> None:
    spread = spread_over_seeds([0.5], [0.4], 360, True)
    assert not spread.seeds
    with pytest.raises(ValueError, match="unknown"):
        seeds_to_decide(claim(), spread, 0.05)


def _studies(difference: float, seeds: int, trials: int) -> list[tuple[float, float]]:
    """The intervals of simulated studies of 400 images, whose difficulty, seeds and interaction all vary."""
    rng = np.random.default_rng(seeds)
    chance = 0.6 + rng.uniform(-0.25, 0.25, (trials, 1, 400))
    sides = [
        rng.random((trials, seeds, 400)) < chance + shift + rng.normal(0, 0.02, (trials, seeds, 1))
        for shift in (difference, 0.0)
    ]
    spread = estimate_spread(*sides, 400, paired=True)
    half = spread.half_width(0.05)
    return list(zip((spread.difference - half).tolist(), (spread.difference + half).tolist(), strict=True))


@pytest.mark.parametrize("seeds", [3, 8])
def test_a_difference_at_the_margin_is_seldom_decided(seeds: int) -> None:
    """The true difference is the margin: either verdict is an error, of 2.5% each. 1,000 studies, so at most 4%."""
    intervals = _studies(0.05, seeds, 1000)
    for relation in ("higher", "equivalent"):
        outcomes = [decide(claim(relation, 0.05), low, high) for low, high in intervals]
        assert outcomes.count("supported") <= 40
        assert outcomes.count("refuted") <= 40
    assert sum(low <= 0.05 <= high for low, high in intervals) >= 930


def test_equal_sides_are_found_equivalent_and_not_higher() -> None:
    intervals = _studies(0.0, 8, 200)
    assert sum(decide(claim("equivalent", 0.1), low, high) == "supported" for low, high in intervals) > 190
    assert sum(decide(claim("higher", 0.1), low, high) == "refuted" for low, high in intervals) > 190


def _spread(difference: float, deviation: float = 0.03, seeds: int = 3) -> Any:
    """A spread over pairs of seeds with exactly this mean and deviation."""
    values = np.linspace(-1, 1, seeds)
    values = difference + deviation * values / values.std(ddof=1)
    return spread_over_seeds(values.tolist(), [0.0] * seeds, 10_000, True)


def test_the_seeds_that_would_decide_do_so_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(3)
    for rule, difference in ((claim("higher", 0.02), 0.05), (claim("lower", 0.02), -0.05),
                             (claim("equivalent", 0.04), 0.0), (claim("equivalent", 0.04), 0.01)):  # fmt: skip
        seeds = seeds_to_decide(rule, _spread(difference), 0.05)
        assert seeds is not None
        for number, enough in ((seeds, True), (seeds - 1, False)):
            values = rng.normal(difference, 0.03, (20_000, number))
            half = t.ppf(0.975, number - 1) * values.std(1, ddof=1) / number**0.5
            means = values.mean(1)
            ends = zip((means - half).tolist(), (means + half).tolist(), strict=True)
            share = sum(decide(rule, low, high) == "supported" for low, high in ends) / 20_000
            assert (share >= 0.79) if enough else (share < 0.81), (rule, number, share)


def test_no_number_of_seeds_decides_a_difference_on_the_margin() -> None:
    assert seeds_to_decide(claim("higher", 0.0), _spread(0.0), 0.05) is None
    assert seeds_to_decide(claim("equivalent", 0.25), _spread(0.25), 0.05) is None
    assert seeds_to_decide(claim("equivalent", 0.02), _spread(0.2, 0.1), 0.05) is not None
