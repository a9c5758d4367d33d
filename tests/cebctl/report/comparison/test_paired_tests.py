"""Two runs, or two families, on the same images: against closed forms, tables of the binomial and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from cebctl.report.comparison.paired_tests import compare, correct_multiple, estimate_detection


def pair(both: int, a_only: int, b_only: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Right or wrong by A and by B, so many images of each kind."""
    a = [True] * (both + a_only) + [False] * (b_only + neither)
    b = [True] * both + [False] * a_only + [True] * b_only + [False] * neither
    return a, b


def test_two_equal_methods_do_not_differ_because_of_their_seeds() -> None:
    """Five seeds each of two methods that are equally accurate, at a standard deviation of 4 points over seeds."""
    rng = np.random.default_rng(0)
    significant = 0
    for _ in range(100):
        accuracies = np.clip(rng.normal(0.8, 0.04, (10, 1)), 0, 1)
        right = (rng.random((10, 360)) < accuracies).tolist()
        significant += compare("clean", right[:5], right[5:]).p < 0.05
    assert significant <= 11  # of 5 expected: P(more) < 0.5%


@given(st.integers(0, 60), st.integers(0, 60))
def test_single_runs_are_compared_by_bonett_and_prices_interval(a_only: int, b_only: int) -> None:
    a, b = pair(100, a_only, b_only, 200)
    comparison, n = compare("clean", [a], [b]), len(a)
    p12, p21 = (a_only + 1) / (n + 2), (b_only + 1) / (n + 2)
    half = 1.9665 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    assert comparison.high - comparison.difference == pytest.approx(half, rel=4e-3)
    assert comparison.difference == pytest.approx((a_only - b_only) / n)


@given(st.integers(5, 60), st.integers(5, 60))
def test_p_of_single_runs_is_near_mcnemars(a_only: int, b_only: int) -> None:
    """It lies between a bit below the mid-p and a bit above the exact test."""
    a, b = pair(500, a_only, b_only, 500)
    exact = binomtest(a_only, a_only + b_only, 0.5).pvalue
    mid = exact - binom.pmf(min(a_only, b_only), a_only + b_only, 0.5) if a_only != b_only else 1.0
    assert 0.85 * min(mid, exact) - 0.01 <= compare("clean", [a], [b]).p <= exact * 1.15 + 0.01


seeds = st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4)


@given(seeds, seeds, st.booleans())
def test_p_and_interval_agree(a: list[list[bool]], b: list[list[bool]], paired: bool) -> None:
    assume(not paired or len(a) == len(b))
    comparison = compare("clean", a, b, paired=paired)
    assert (comparison.p < 0.05) == (comparison.low > 0 or comparison.high < 0)
    assert -1 <= comparison.low <= comparison.difference <= comparison.high <= 1
    assert (comparison.p_corrected, comparison.low_corrected) == (comparison.p, comparison.low)


def test_images_are_compared_in_pairs() -> None:
    comparison = compare("clean", [[True, True, False, False, True]], [[True, False, False, True, False]])
    assert (comparison.n, comparison.a, comparison.b, comparison.a_only, comparison.b_only) == (5, 3, 2, 2, 1)
    assert comparison.difference == pytest.approx(0.2)
    assert compare("pgd", [[True, False, False, False]], [[False] * 4], 2).difference == 0.5  # two of four measured


def test_families_are_compared_by_the_share_of_their_seeds() -> None:
    """Image by image: A right in 1, 1/2, 0 of its two seeds, B in all, none, none of its three."""
    comparison = compare("clean", [[True, True, False], [True, False, False]], [[True, False, False]] * 3)
    assert (comparison.seeds_a, comparison.seeds_b, comparison.a, comparison.b) == (2, 3, 3, 3)
    assert (comparison.a_only, comparison.b_only, comparison.accuracy_a) == (1, 0, 0.5)
    assert comparison.difference == pytest.approx(1 / 6)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3), st.integers(1, 3))
def test_a_family_against_itself_differs_in_nothing(a: list[list[bool]], times: int) -> None:
    comparison = compare("clean", a, a * times)
    assert comparison.difference == pytest.approx(0, abs=1e-12) and comparison.p == pytest.approx(1)
    assert comparison.low == pytest.approx(-comparison.high) and comparison.high > 0  # so few images are no certainty


def test_several_comparisons_are_corrected_for_each_other() -> None:
    """Holm's own arithmetic: p of 0.01, 0.04, 0.03 become 0.03, 0.06, 0.06."""
    comparisons = [compare(name, *([flags] for flags in pair(300, a_only, 10, 60)))
           for name, a_only in (("x", 30), ("y", 22), ("z", 24))]  # fmt: skip
    three = correct_multiple(comparisons)
    smallest, middle, largest = sorted(comparison.p for comparison in comparisons)
    assert three[0].p_corrected == pytest.approx(3 * smallest)
    assert three[2].p_corrected == pytest.approx(2 * middle)
    assert three[1].p_corrected == pytest.approx(max(2 * middle, largest))
    for before, after in zip(comparisons, three, strict=True):
        assert (after.p, after.low, after.at_once) == (before.p, before.low, 3)
        # Bonferroni: the normal's quantile of 0.05 / 3, nearly
        ratio = (after.high_corrected - after.low_corrected) / (before.high - before.low)
        assert ratio == pytest.approx(2.394 / 1.960, abs=0.01)


def test_one_seed_shows_no_spread_over_training() -> None:
    a, b = pair(100, 20, 5, 10)
    assert estimate_detection(compare("clean", [a], [b]), 1.0) is None
    assert estimate_detection(compare("clean", [a, a], [b]), 1.0) is None


@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], [])])
def test_what_cant_be_compared(a: list[bool], b: list[bool]) -> None:
    with pytest.raises(ValueError, match="images against"):
        compare("clean", [a], [b])
