"""What `cebctl report --compare` prints for a reader."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cebctl.report.comparison import view
from cebctl.report.comparison.paired_tests import compare, correct_multiple

Flags = list[list[bool]]


def shown(
    capsys: pytest.CaptureFixture[str], a: Flags, b: Flags, times: int = 1, points: float | None = None, **how: bool
) -> str:
    comparisons = correct_multiple([compare("pgd_linf@eps=0.1,n=3", a, b, **how)] * times)
    view.print_comparison("xent", "ceb [3]", comparisons, points)
    return capsys.readouterr().out


def networks(accuracy: float, seeds: int, images: int = 400, spread: float = 0.02) -> Flags:
    rng = np.random.default_rng(round(accuracy * 1000))
    return (rng.random((seeds, images)) < accuracy + rng.normal(0, spread, (seeds, 1))).tolist()


def test_one_run_against_another_says_nothing_about_training(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, [[True, True, False, False]], [[True, False, False, False]], points=1.0)
    assert text.startswith("A: xent (1 seed)\nB: ceb [3] (1 seed)\n")
    assert "over images only" in text and "says nothing about training again" in text
    assert "To detect 1 points: unknown" in text


def test_families_of_seeds_say_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, [[True, False]] * 3, [[True, True]])
    assert text.startswith("A: xent (3 seeds)\nB: ceb [3] (1 seed)\n")
    assert "-50.0 [" in text and "one side has one seed: intervals and p are over images only" in text


@pytest.mark.parametrize(("paired", "says"), [(True, "in pairs"), (False, "either side independent")])
def test_intervals_over_seeds_and_images_say_so(capsys: pytest.CaptureFixture[str], paired: bool, says: str) -> None:
    text = shown(capsys, networks(0.7, 3), networks(0.8, 3), paired=paired)
    assert says in text and "over seeds and images" in text and "Two seeds" not in text and "at once" not in text


def test_two_seeds_and_several_comparisons_have_their_notes(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, networks(0.7, 2), networks(0.8, 2), times=3)
    assert "Two seeds tell next to nothing of the spread over training" in text
    assert "3 comparisons at once: p by Holm; intervals by Bonferroni" in text
    assert "[95%, all at once]" in text and "p (Holm)" in text


def test_it_ends_with_the_seeds_that_a_difference_needs(capsys: pytest.CaptureFixture[str]) -> None:
    families = networks(0.7, 3), networks(0.8, 3)
    for points, says in (
        (30.0, r"2 seeds on each side"),
        (0.1, "no number of seeds: 400 images show \\d.\\d points at best"),
    ):
        text = shown(capsys, *families, points=points)
        assert f"To detect {points:g} points with power 80% at the two-sided level 5%" in text
        assert re.search(says, text.splitlines()[-1])
