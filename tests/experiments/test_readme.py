"""The room's README: its example is a matrix, and it names every matrix and module there is."""

from __future__ import annotations

import re
from pathlib import Path

from jsonschema import Draft202012Validator

from experiments import lineage
from experiments.matrix import yaml_nodes
from experiments.matrix.json_schema import json_schema
from experiments.matrix.load import load

ROOM = Path(__file__).parents[2] / "experiments"
TEXT = (ROOM / "README.md").read_text()


def test_the_example_is_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0])
    assert len(load(path).runs) == (2 + 55) * 3
    assert Draft202012Validator(json_schema()).is_valid(yaml_nodes.plain(yaml_nodes.compose(path)))


def test_the_fragments_about_starts_make_runs(tmp_path: Path) -> None:
    base = "base: {data: digits, network: small_cnn, optimiser: adam, batch: 8}\n"
    extending, importing = (
        block.replace("sha256:…", "sha256:" + "0" * 64)
        for block in re.findall(r"```yaml\n(.*?)```", TEXT.partition("## More epochs")[2], re.DOTALL)[:2]
    )
    path = tmp_path / "start.yaml"
    path.write_text(base.replace("base: {", "base: {epochs: 200, extends: [100], ") + extending.partition("\n")[2]
                    + "grids: [{objective: xent}, {objective: xent, variants: [again]}]\n")  # fmt: skip
    assert extending.startswith("base: {epochs: 200, extends: [100]}")
    first, again = load(path).runs
    assert again.run.extends == (100, 200) and lineage.parent_id(again.run) == first.run_id
    path.write_text(base + importing + "grids: [{objective: xent, variants: [published, fine_tuned]}]\n")
    assert [run.run.epochs for run in load(path).runs] == [0, 10]


def test_the_fragments_of_recipes_make_a_run(tmp_path: Path) -> None:
    fragments = re.findall(r"```yaml\n(.*?)```", (ROOM / "RECIPES.md").read_text(), re.DOTALL)
    path = tmp_path / "recipe.yaml"
    for fragment in fragments:
        data = "" if "data:" in fragment else " data: cifar10\n"
        optimiser = "" if "optimiser:" in fragment else " optimiser: adam\n"
        indented = "".join(f" {line}\n" for line in fragment.splitlines())
        objective = "" if "objective:" in fragment else " objective: xent\n"
        base = f"base:\n network: small_cnn\n epochs: 9\n batch: 8\n{data}{optimiser}{objective}{indented}"
        path.write_text(f"{base}grids: [{{seed: 0}}]")
        assert len(load(path).runs) == 1
    assert len(fragments) == 4


def test_every_matrix_is_listed_with_its_runs() -> None:
    listed = {name: int(runs) for name, runs in re.findall(r"\| `(\w+\.yaml)` \| (\d+) \|", TEXT)}
    matrices = {path.name: len(load(path).runs) for path in ROOM.glob("*.yaml")}
    assert listed == matrices


def test_every_module_is_named_and_the_text_is_short() -> None:
    modules = {path.name for path in ROOM.glob("*.py")} - {"__init__.py"}
    assert not {name for name in modules if f"`{name}`" not in TEXT}
    assert len(re.sub(r"```diff\n.*?```", "", TEXT, flags=re.DOTALL).splitlines()) < 250
