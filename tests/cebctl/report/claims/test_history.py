"""A rule that is younger than the results that it judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

CLAIM = {"sentence": "It is.", "a": "rho = 1", "b": "objective = xent", "measure": "clean", "margin": 0.02}


@pytest.fixture
def claim(call) -> Callable[[Any], dict[str, Any]]:
    def claim(study: Any) -> dict[str, Any]:
        (only,) = json.loads(call("report", study.path, "--claims", "--json").out)["claims"]
        return dict(only)

    return claim


def right(run: Any, column: str) -> float:
    return 0.9


def test_a_rule_that_was_fixed_first(study, claim, call) -> None:
    fixed = study(one=CLAIM)
    fixed.submit()
    fixed.measure(right)
    found = claim(fixed)
    assert (found["stated_late"], found["changed"], found["stated_at"]) == (False, [], 1001)
    assert "1 claim fixed by a submission of" in call("report", fixed.path, "--claims").out


def test_a_change_after_the_result_is_said_with_what_changed(study, claim, call) -> None:
    bent = study(one=CLAIM)
    bent.submit()
    bent.measure(right)
    bent.state(one=CLAIM | {"margin": 0.0, "match": "clean_holdout", "within": 0.5})
    bent.submit()  # a later submission does not launder it
    assert claim(bent)["changed"] == ["margin 0.02 -> 0", "match unset -> clean_holdout", "within unset -> 0.5"]
    assert "(changed after the first result: margin 0.02 -> 0, match" in call("report", bent.path, "--claims").out
    bent.state(one=CLAIM)
    assert claim(bent)["changed"] == []


def test_a_change_before_the_first_result_is_free(study, claim) -> None:
    early = study(one=CLAIM | {"margin": 0.5})
    early.submit()
    early.state(one=CLAIM)
    early.submit()
    early.measure(right)
    assert (claim(early)["changed"], claim(early)["stated_at"]) == ([], 1002)


def test_a_rule_stated_after_the_result_is_late(study, claim, call) -> None:
    late = study(one=CLAIM)
    late.measure(right)
    late.submit()
    assert claim(late)["stated_late"]
    assert "(stated after the first result; exploratory)" in call("report", late.path, "--claims").out


def test_measuring_again_makes_no_rule_older(study, claim) -> None:
    again = study(one=CLAIM | {"margin": 0.5})
    again.submit()
    again.measure(right)
    again.state(one=CLAIM)
    again.submit()
    again.measure(right)
    assert claim(again)["changed"] == ["margin 0.5 -> 0.02"]


def test_a_claim_that_vanished_is_named(study, call) -> None:
    gone = study(one=CLAIM, two=CLAIM)
    gone.submit()
    gone.measure(right)
    gone.state(one=CLAIM)
    assert "Withdrawn after the first result: the claim two." in call("report", gone.path).out
    gone.submit()
    assert "the claim two." in call("report", gone.path).out


def test_a_claim_may_go_before_there_is_a_result(study, call) -> None:
    """Though the runs have results in another column, which no claim is about."""
    early = study()
    early.measure(lambda run, column: None if column == "clean" else 0.9)
    early.state(one=CLAIM, two=CLAIM)
    early.submit()
    early.state(one=CLAIM)
    early.submit()
    early.measure(right)
    assert "Withdrawn" not in call("report", early.path).out


def test_seeds_that_were_added_after_a_look_are_named(study, claim, call) -> None:
    grown = study(one=CLAIM)
    grown.submit()
    grown.measure(right)
    assert claim(grown)["added_seeds"] == []
    grown.runs = grown.runs.replace("[0, 1, 2]", "[0, 1, 2, 3, 4]")
    grown.state(one=CLAIM)
    grown.submit()
    grown.measure(right)
    assert (claim(grown)["added_seeds"], claim(grown)["changed"]) == ([3, 4], [])
    assert "one: seed 3, 4 added after the first result; the level does not allow" in call("report", grown.path).out


def test_results_in_other_columns_do_not_make_a_rule_late(study, claim) -> None:
    shared = study()
    shared.submit()
    shared.measure(lambda run, column: None if column == "clean" else 0.9)
    shared.state(one=CLAIM)
    shared.submit()
    assert not claim(shared)["stated_late"]
    shared.measure(right)
    assert not claim(shared)["stated_late"]


def test_another_measure_after_a_look_is_a_change(study, claim) -> None:
    """Nothing was measured in the new column yet; in the old one there was a result to be disappointed by."""
    switched = study(one=CLAIM)
    switched.submit()
    switched.measure(lambda run, column: 0.9 if column == "clean" else None)
    switched.state(one=CLAIM | {"measure": "pgd_linf"})
    switched.submit()
    assert claim(switched)["changed"] == ["measure clean -> pgd_linf"]
