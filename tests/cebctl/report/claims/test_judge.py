"""From journals to verdicts, through the command: what is decided, and why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from experiments.matrix.planned_run import PlannedRun

CLAIM = {"sentence": "It is more robust.", "a": "rho = 1", "b": "objective = xent", "measure": "pgd_linf"}
MATCHED = CLAIM | {"a": "objective = ceb", "match": "clean_holdout", "within": 0.02}

Verdicts = Callable[..., dict[str, Any]]


@pytest.fixture
def verdicts(call) -> Verdicts:
    """The verdicts of a study by name."""

    def verdicts(study: Any) -> dict[str, Any]:
        answer = call("report", study.path, "--claims", "--json")
        assert answer.code == 0, answer.err
        return {claim["name"]: claim for claim in json.loads(answer.out)["claims"]}

    return verdicts


def robust(run: PlannedRun, column: str) -> float:
    """ceb at rho 1 is more robust by 30 points, at rho 3 by 10, by any attack; clean accuracies are equal."""
    if column.startswith(("pgd", "autoattack")):
        return {1.0: 0.6, 3.0: 0.4}.get(run.axes.get("rho"), 0.3)
    return 0.9


def masked(run: PlannedRun, column: str) -> float:
    """As above under PGD, but less robust than xent under AutoAttack."""
    if column.startswith("autoattack"):
        return 0.2 if "rho" in run.axes else 0.28
    return robust(run, column)


def kinds(claim: dict[str, Any]) -> list[str]:
    return [reason["kind"] for reason in claim["reasons"]]


def test_what_holds_under_every_attack_is_supported(study, verdicts: Verdicts) -> None:
    robustness = study(up=CLAIM | {"margin": 0.05}, down=CLAIM | {"relation": "lower"},
                       same=CLAIM | {"measure": "clean", "relation": "equivalent", "margin": 0.03})  # fmt: skip
    robustness.measure(robust)
    claims = verdicts(robustness)
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "up": "supported", "down": "refuted", "same": "supported",
    }  # fmt: skip
    up = claims["up"]
    assert up["difference"] == pytest.approx(0.3, abs=0.03)
    assert 0.05 < up["low"] < up["difference"] < up["high"]
    assert (up["over"], up["n"], up["sides"]["a"]["name"], up["reasons"]) == (["seeds", "images"], 360, "ceb rho=1", [])
    assert len(up["stronger_attacks"]) == 1


def test_masked_gradients_support_nothing(study, verdicts: Verdicts) -> None:
    """PGD alone would have supported it; AutoAttack refutes that, on what only xent's gradients must be clean for."""
    masks = study(pgd=CLAIM, aa=CLAIM | {"measure": "autoattack_linf"})
    masks.measure(masked, audits=lambda run: "rho" not in run.axes)
    claims = verdicts(masks)
    assert claims["pgd"]["verdict"] == "undecided"
    assert kinds(claims["pgd"]) == ["stronger_attack_differs", "audit_not_clean"]
    assert claims["pgd"]["low"] > 0.2
    assert (claims["aa"]["verdict"], claims["aa"]["reasons"]) == ("refuted", [])


@pytest.mark.parametrize(
    ("missing", "audit", "kind", "words"),
    [
        ("autoattack", True, "no_stronger_attack", "was not run yet on ceb rho=1 seed=0"),
        ("pgd", True, "incomplete", "no pgd_linf@eps=0.1,n=20 of"),
        ("", None, "no_audit", "has no gradient audit yet (linf eps=0.1)"),
        ("", False, "audit_not_clean", "the audit is not clean: ceb rho=1 seed=0 and 2 more: suspect"),
    ],
)
def test_what_keeps_it_undecided_is_named(study, verdicts: Verdicts, missing, audit, kind, words) -> None:
    partial = study(one=CLAIM)
    partial.measure(lambda run, column: None if missing and column.startswith(missing) else robust(run, column),
                    audits=lambda run: audit)  # fmt: skip
    claim = verdicts(partial)["one"]
    assert (claim["verdict"], kinds(claim)) == ("undecided", [kind])
    assert words in claim["reasons"][0]["text"]


def test_too_few_seeds_says_how_many_would_decide(study, verdicts: Verdicts, call) -> None:
    close = study(one=CLAIM | {"measure": "clean", "sentence": "It is better."})
    spread = {0: 0.08, 1: -0.02, 2: 0.03}
    close.measure(lambda run, column: 0.8 + ("rho" in run.axes) * spread[run.run.seed])
    claim = verdicts(close)["one"]
    (reason,) = claim["reasons"]
    assert reason["kind"] == "too_few_seeds"
    assert 4 <= reason["seeds"] < 40
    assert f"about {reason['seeds']} on each side would decide" in call("report", close.path, "--claims").out


def test_one_seed_decides_nothing(study, verdicts: Verdicts) -> None:
    single = study(one=CLAIM | {"a": "rho = 1, seed = 0", "b": "objective = xent, seed = 0"})
    single.measure(robust)
    claim = verdicts(single)["one"]
    assert (claim["verdict"], kinds(claim), claim["over"]) == ("undecided", ["too_few_seeds"], ["images"])


def test_the_setting_is_chosen_on_held_out_images(study, verdicts: Verdicts) -> None:
    """rho 1 costs five points on the held-out images and none on the test set; rho 3 costs nothing."""

    def accuracy(run: PlannedRun, column: str) -> float:
        return 0.85 if column == "clean_holdout" and run.axes.get("rho") == 1 else robust(run, column)

    matched = study(
        near=MATCHED, low=MATCHED | {"choose": "lowest_rho", "within": 0.1}, none=MATCHED | {"within": 1e-9}
    )
    matched.measure(accuracy)
    claims = verdicts(matched)
    assert claims["near"]["sides"]["a"]["name"] == claims["none"]["sides"]["a"]["name"] == "ceb rho=3"
    assert claims["low"]["sides"]["a"]["name"] == "ceb rho=1"
    assert "2 of 2 settings" in claims["low"]["matched"]
    matched.measure(lambda run, column: 0.5 if column == "clean_holdout" and "rho" in run.axes else 0.9)
    claim = verdicts(matched)["near"]
    assert (claim["verdict"], kinds(claim), claim["difference"]) == ("undecided", ["no_match"], None)
    assert (
        "no match: none of 2 settings agrees in clean_holdout to 2 points, the nearest by 40.0"
        in claim["reasons"][0]["text"]
    )


def test_a_measure_without_images_is_judged_over_seeds(study, verdicts: Verdicts) -> None:
    calibrated = study(ece=CLAIM | {"measure": "ece", "relation": "lower"})
    calibrated.measure(lambda run, column: 0.05 + 0.001 * run.run.seed if "rho" in run.axes else 0.15)
    claim = verdicts(calibrated)["ece"]
    assert (claim["verdict"], claim["over"], claim["difference"]) == ("supported", ["seeds"], pytest.approx(-0.099))


def test_the_correction_widens_every_interval(study, verdicts: Verdicts) -> None:
    one, three = study(a=CLAIM | {"primary": True}), {name: CLAIM | {"primary": True} for name in "abc"}
    one.measure(robust)
    before = verdicts(one)["a"]
    one.state(**three, d=CLAIM)
    after = verdicts(one)
    assert after["a"]["low"] < before["low"]
    assert after["d"]["low"] == after["a"]["low"]
    assert (after["a"]["corrected_for"], after["a"]["interval_level"]) == (3, pytest.approx(1 - 0.05 / 3))


def test_one_network_under_two_measures_needs_no_audit(study, verdicts: Verdicts) -> None:
    two = study(gap=CLAIM | {"b": "rho = 1", "measure_b": "autoattack_linf", "margin": 0.1})
    two.measure(masked, audits=lambda run: None)
    assert verdicts(two)["gap"]["verdict"] == "supported"


def test_claims_are_not_judged_on_a_part(study, call) -> None:
    whole = study(one=CLAIM)
    whole.measure(robust)
    assert "claims" not in json.loads(call("report", whole.path, "--only", "seed = 0", "--json").out)
    refused = call("report", whole.path, "--claims", "--only", "seed = 0")
    assert (refused.code, "--claims: can't go with --only" in refused.err) == (2, True)
    whole.state()
    assert "the matrix has no claims" in call("report", whole.path, "--claims").err


def test_nothing_was_run(study, verdicts: Verdicts) -> None:
    claim = verdicts(study(one=CLAIM))["one"]
    assert (claim["verdict"], kinds(claim), claim["low"]) == ("undecided", ["incomplete"], None)


def test_a_short_name_is_the_column_that_all_settings_have(study, verdicts: Verdicts) -> None:
    """An attack on rho 1 alone, in front of the one that all have, is not what the claim compares."""
    several = study()
    several.runs = several.runs.replace("  - clean\n", "  - pgd: {norm: linf, eps: 0.9, only: rho = 1}\n  - clean\n")
    several.state(one=MATCHED | {"choose": "lowest_rho"})
    several.measure(robust)
    assert verdicts(several)["one"]["sides"]["a"]["column"] == "pgd_linf@eps=0.1,n=20"
