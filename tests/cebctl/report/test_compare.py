"""Two runs on the same images: against tables of the binomial and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cebctl.report.compare import bootstrap, compare, mcnemar, sign_flips


def test_mcnemar_is_the_two_sided_binomial_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(0, 10) == pytest.approx(2 / 2**10)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_sums_binomials(a: int, b: int) -> None:
    tail = sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a)) == pytest.approx(min(1.0, 2 * tail))


def test_the_bootstrap_is_near_the_normal_interval_of_paired_differences() -> None:
    low, high = bootstrap({1: 90, -1: 12, 0: 258}, 360)
    difference = 78 / 360
    spread = 1.96 * math.sqrt((102 / 360 - difference**2) / 360)
    assert low == pytest.approx(difference - spread, abs=0.005)
    assert high == pytest.approx(difference + spread, abs=0.005)
    assert bootstrap({0: 258, -1: 12, 1: 90}, 360) == (low, high)


def test_the_bootstrap_by_counts_is_that_of_images() -> None:
    rng = np.random.default_rng(1)
    pairs = np.array([1] * 20 + [-1] * 5 + [0] * 75)
    means = rng.choice(pairs, size=(4000, 100)).mean(axis=1)
    low, high = bootstrap({1: 20, -1: 5, 0: 75}, 100)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.011)


def test_images_are_compared_in_pairs() -> None:
    found = compare("clean", [[True, True, False, False, True]], [[True, False, False, True, False]])
    assert (found.n, found.a, found.b, found.a_only, found.b_only) == (5, 3, 2, 2, 1)
    assert found.difference == pytest.approx(0.2) and found.low <= found.difference <= found.high
    assert compare("pgd", [[True, False, False, False]], [[False] * 4], 2).difference == 0.5  # two of the four measured


def test_families_are_compared_by_the_share_of_their_seeds() -> None:
    """Image by image: A right in 1, 1/2, 0 of its two seeds, B in all, none, none of its three."""
    found = compare("clean", [[True, True, False], [True, False, False]], [[True, False, False]] * 3)
    assert (found.seeds_a, found.seeds_b, found.a, found.b, found.a_only, found.b_only) == (2, 3, 3, 3, 1, 0)
    assert found.accuracy_a == 0.5 and found.difference == pytest.approx(1 / 6)
    assert found.low <= found.difference <= found.high


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_flips_of_single_runs_are_mcnemars_test(a: int, b: int) -> None:
    assert sign_flips({1: a, -1: b, 0: 7}) == pytest.approx(mcnemar(a, b), abs=0.03)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3), st.integers(1, 3))
def test_a_family_against_itself_differs_in_nothing(a: list[list[bool]], times: int) -> None:
    found = compare("clean", a, a * times)
    assert found.difference == pytest.approx(0) and (found.low, found.high) == (0, 0) and found.p == 1


@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], [])])
def test_what_cant_be_compared(a: list[bool], b: list[bool]) -> None:
    with pytest.raises(ValueError, match="images against"):
        compare("clean", [a], [b])
