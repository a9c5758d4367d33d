"""The JSON Schema accepts every matrix here and refuses what `load` refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from experiments.matrix import yaml_nodes
from experiments.matrix.json_schema import json_schema
from experiments.matrix.load import read_parts

FOLDER = Path(__file__).parents[3] / "experiments"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_matrix_here_is_valid(validator: Draft202012Validator, path: Path) -> None:
    assert not [error.message for error in validator.iter_errors(yaml_nodes.plain(yaml_nodes.compose(path)))]


@pytest.mark.parametrize(
    "matrix",
    [
        {"grid": []},
        {"base": {"rhoo": 3}},
        {"base": {"objective": "cebb"}},
        {"base": {"network": {"name": "resnet", "depth": 51}}},
        {"grids": [{"rho": []}]},
        {"base": {"schedule": "cosin"}},
        {"base": {"schedule": {"name": "cosine", "horizon": 3}}},
        {"grids": [{"rho": {"from": 1, "to": 2}}]},
        {"grids": [{"sample": {"trials": 4, "fields": {"lr": {"log": [1]}}}}]},
        {"evaluate": ["clen"]},
        {"evaluate": ["pgd"]},
        {"evaluate": [{"pgd": {"norm": "l2", "eps": "big"}}]},
        {"evaluate": [{"pgd": {"norm": "l2", "eps": 1, "loss": "softmax"}}]},
        {"evaluate": [{"clean": {"eps": 1}}]},
        {"resources": {"train": {"memory": "lots"}}},
        {"resources": {"when": [{"train": {}}]}},
        {"report": {"figures": ["v3-1"]}},
        {"seeds": [-1]},
    ],
    ids=str,
)
def test_what_is_no_matrix_is_refused(validator: Draft202012Validator, matrix: object) -> None:
    assert not validator.is_valid(matrix)


@pytest.mark.parametrize(
    "matrix",
    [
        {"base": {"data": "cifar10", "network": {"name": "wide_resnet", "blocks": 4, "width": 10}, "lr": 1e-3}},
        {"base": {"network.width": 4, "jump_start.steps": 3, "drops": [1, 2]}, "seeds": [0, 1]},
        {"base": {"schedule": "cosine", "optimiser": {"name": "sgd", "lr": 1, "nesterov": False}}},
        {"grids": [{"schedule": ["steps", {"name": "cosine", "horizon_epochs": 3}], "optimiser": ["adamw"]}]},
        {"grids": [{"objective": "ceb", "rho": {"from": 0, "to": 1, "by": 0.5}, "zip": {"epochs": [1], "batch": 2}}]},
        {"grids": [{"sample": {"trials": 4, "sampler": "random", "seed": 1, "fields": {
            "lr": {"log": [1e-4, 0.1]}, "rho": {"from": 0, "to": 5}, "objective": ["xent", "ceb"]}}}]},
        {"evaluate": ["clean", {"pgd": {"norm": ["linf", "l2"], "eps": ["8/255", "4 px", 0.1], "only": "rho = 0"}}]},
    ],
    ids=str,
)  # fmt: skip
def test_every_way_to_write_it_is_allowed(validator: Draft202012Validator, matrix: object) -> None:
    assert not [error.message for error in validator.iter_errors(matrix)]


PARTS = """
from typing import Literal
def vit(image, patch: int = 4, pool: Literal["cls", "mean"] = "cls"):
    'Patches in, a token out.'
def ramp(progress, top: float): ...
def noise(model, images, labels, rng, std: float): 'Noise.'
def gap(logits, labels, weight: float = 1.0): ...
"""
OWN = {
    "base": {"network": {"from": "parts.py:vit", "patch": 8}, "schedule": {"from": "parts.py:ramp", "top": 0.5}},
    "grids": [{"pool": ["cls", "mean"], "network": ["parts.py:vit", {"from": "parts.py:vit", "pool": "mean"}]}],
    "evaluate": [
        {"from": "parts.py:noise", "std": [0.1, 0.2], "subset": 9, "only": "seed = 0"},
        {"pgd": {"norm": "l2", "eps": 1, "loss": ["dlr", {"from": "parts.py:gap", "weight": 2}, "parts.py:gap"]}},
    ],
}


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "study.yaml").write_text(json.dumps(OWN | {"grid": "a fault that has nothing to do with parts"}))
    schema = json_schema(read_parts(tmp_path / "study.yaml"))
    Draft202012Validator.check_schema(schema)
    return schema


def test_a_matrix_has_the_fields_of_its_own_parts(own: dict[str, Any]) -> None:
    assert not [error.message for error in Draft202012Validator(own).iter_errors(OWN)]
    assert not Draft202012Validator(json_schema()).is_valid(OWN)
    [network] = [kind for kind in own["$defs"]["fields"]["properties"]["network"]["anyOf"] if "properties" in kind]
    assert network["properties"]["patch"] == {"description": "a whole number", "type": "integer", "default": 4}
    named = {"const": "parts.py:vit", "description": "Patches in, a token out."}
    assert named in network["properties"]["name"]["anyOf"]


@pytest.mark.parametrize(
    "matrix",
    [
        {"base": {"network": {"from": "parts.py:wit"}}},
        {"base": {"network": {"from": "parts.py:vit", "patches": 4}}},
        {"base": {"network": {"from": "parts.py:vit", "pool": "max"}}},
        {"evaluate": [{"from": "parts.py:noise"}]},
        {"evaluate": ["parts.py:noise"]},
        {"evaluate": [{"from": "parts.py:noise", "std": "high"}]},
        {"evaluate": [{"pgd": {"norm": "l2", "eps": 1, "loss": {"from": "parts.py:gap", "k": 2}}}]},
    ],
    ids=str,
)
def test_what_its_parts_do_not_have_is_refused(own: dict[str, Any], matrix: object) -> None:
    assert not Draft202012Validator(own).is_valid(matrix)
