"""The `claims` section: what is refused, where, and what a matrix then holds."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from experiments.errors import MatrixError
from experiments.identity import run_id
from experiments.matrix.json_schema import json_schema

RUNS = """
grids: [{objective: xent}, {objective: ceb, rho: [1, 3]}]
seeds: [0, 1]
evaluate: [clean, pgd: {norm: linf, eps: [0.1, 0.2]}, pgd: {norm: l2, eps: 1, only: objective = ceb}]
"""
CLAIM = {"sentence": "It is.", "a": "rho = 1", "b": "objective = xent", "measure": "clean"}


def _section(**claims: object) -> str:
    return f"{RUNS}claims: {json.dumps(claims)}\n"


def test_a_claim_is_read_and_changes_no_run(expand) -> None:
    matrix = expand(_section(pgd=CLAIM | {"measure": "pgd_linf@eps=0.1,n=20", "margin": 0.02, "primary": True}))
    claim = matrix.claims["pgd"]
    assert (claim.margin, claim.relation, claim.level, claim.primary) == (0.02, "higher", 0.95, True)
    assert [run.run_id for run in matrix.runs] == [run_id(run.run) for run in expand(RUNS).runs]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": "rho = 2"}, "a: 'rho = 2' selects none of the 6 runs"),
        ({"a": "roh = 1"}, "a: selection 'roh = 1', character 1: unknown field 'roh'"),
        ({"a": "objective = ceb"}, "a: it selects 2 settings; one is compared"),
        ({"b": "rho <= 1"}, "b: runs of side A are selected again"),
        ({"measure": "pgd_linf"}, "could be any of pgd_linf@eps=0.1,n=20, pgd_linf@eps=0.2,n=20; write which"),
        ({"measure": "pgd_l2"}, "measure: no column 'pgd_l2' of all runs of the side"),
        ({"measure": "claen"}, "did you mean 'clean'?"),
        ({"margin": -0.1}, "margin: expected a number >= 0"),
        ({"level": 95}, "level: expected a number > 0.5 and < 1"),
        ({"relation": "equivalent"}, "`relation: equivalent` needs a margin above 0"),
        ({"relation": "better"}, "relation: expected one of higher, lower, equivalent"),
        ({"match": "clean_holdout"}, "`match` and `within` go together"),
        ({"match": "clean", "within": 0.1}, "match: expected one of clean_holdout, rate_train"),
        ({"match": "clean_holdout", "within": 0.1}, "match: no column 'clean_holdout' of all runs of the side"),
        ({"choose": "lowest_rho"}, "choose: there is nothing to choose by without `match`"),
        ({"martin": 1}, "unknown field 'martin'"),
        ({"sentence": 3}, "sentence: expected text, got 3"),
    ],
)
def test_a_fault_has_its_place(expand, change: dict[str, object], message: str) -> None:
    with pytest.raises(MatrixError) as caught:
        expand(_section(one=CLAIM | change))
    (fault,) = caught.value.faults
    assert message in fault.message
    assert (fault.line, fault.column > 1) == (6, True)


def test_what_is_missing_is_named(expand) -> None:
    with pytest.raises(MatrixError, match=r"claims\.one: a, b must be set"):
        expand(_section(one={"sentence": "It is.", "measure": "clean"}))
    with pytest.raises(MatrixError, match="claims: expected a mapping"):
        expand(f"{RUNS}claims: [1]")
    with pytest.raises(MatrixError, match="claims: 'a b' is no name"):
        expand(_section(**{"a b": CLAIM}))


def test_a_fourth_primary_claim_is_refused_where_it_stands(expand) -> None:
    claims = {f"c{number}": CLAIM | {"primary": True} for number in range(4)}
    assert len(expand(_section(**dict(list(claims.items())[:3]), c3=CLAIM)).claims) == 4
    with pytest.raises(MatrixError, match="primary: at most 3 claims") as caught:
        expand(_section(**claims))
    (fault,) = caught.value.faults
    assert fault.column > 300


def test_one_run_under_two_measures_is_a_claim(expand) -> None:
    two = CLAIM | {"a": "rho = 1", "b": "rho = 1", "measure_b": "pgd_linf@eps=0.1,n=20"}
    assert expand(_section(attack=two)).claims["attack"].measure_b == "pgd_linf@eps=0.1,n=20"


def test_editors_know_the_fields() -> None:
    validator = Draft202012Validator(json.loads(json.dumps(json_schema())))
    assert validator.is_valid({"claims": {"one": CLAIM | {"match": "clean_holdout", "within": 0.1}}})
    assert not validator.is_valid({"claims": {"one": {"a": "rho = 1"}}})
    assert not validator.is_valid({"claims": {"one": CLAIM | {"relation": "better"}}})
