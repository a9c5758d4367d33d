"""The matrices in experiments/claims/, and their guide."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from experiments.benchmarks import AutoAttack, GradientAudit, Pgd
from experiments.matrix import yaml_nodes
from experiments.matrix.claims_section import MOST_PRIMARY
from experiments.matrix.json_schema import json_schema
from experiments.matrix.load import load, read_parts
from experiments.matrix.stated_claim import StatedClaim

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = sorted((EXPERIMENTS / "claims").glob("*.yaml"))
GUIDE = (EXPERIMENTS / "CLAIMS.md").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_says_claim_rule_and_cost_and_can_be_decided(path: Path) -> None:
    header = path.read_text().partition("title:")[0]
    assert all(re.search(rf"^# {word}: ", header, re.MULTILINE) for word in ("Claim", "Rule", "Cost"))
    matrix = load(path)
    primary = [claim for claim in matrix.claims.values() if claim.primary]
    assert 1 <= len(primary) <= MOST_PRIMARY
    assert {run.run.seed for run in matrix.runs} >= set(range(5))
    attacks = {(b.norm, b.eps) for b in matrix.benchmarks if isinstance(b, Pgd) and b.loss == "cross_entropy"}
    if any(isinstance(claim.measure_b, str) for claim in primary):
        return
    for kind in (AutoAttack, GradientAudit):
        assert attacks <= {(b.norm, b.eps) for b in matrix.benchmarks if isinstance(b, kind)}, "else it stays undecided"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_editors_take_it(path: Path) -> None:
    schema = json.loads(json.dumps(json_schema(read_parts(path))))
    assert Draft202012Validator(schema).is_valid(yaml_nodes.plain(yaml_nodes.compose(path)))


def test_the_guide_knows_every_field_and_file() -> None:
    assert [name for name in StatedClaim.__struct_fields__ if name not in GUIDE] == []
    kinds = {path.stem.partition("_")[2] for path in FILES}
    assert set(re.findall(r"^\| `\*_(\w+)\.yaml`", GUIDE, re.MULTILINE)) == kinds
    assert {path.stem for path in FILES} == {f"{data}_{kind}" for data in ("digits", "cifar10") for kind in kinds}


def test_the_example_of_the_guide_is_a_claim(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert example
    path = tmp_path / "m.yaml"
    path.write_text(
        "base: {data: {name: digits, holdout: 100}, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}\n"
        "grids: [{objective: xent}, {objective: ceb, rho: [1, 3]}]\n"
        "evaluate: [clean_holdout, autoattack: {norm: linf, eps: 0.1}]\n" + example[1]
    )
    assert load(path).claims["autoattack"].within == 0.02
