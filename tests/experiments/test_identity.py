from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from experiments.identity import canonical, evaluation_id, run_id
from experiments.matrix.load import load
from experiments.matrix.spec_fields import schema
from experiments.spec import Run

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden_ids.json"
GOLDEN_NAMES = Path(__file__).parent / "golden_names.json"


def test_ids_are_those_of_the_golden_file() -> None:
    """A refactoring that changes an id would orphan every trained network: change the file on purpose only."""
    ids = {}
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        matrix = load(path)
        ids[path.stem] = {run.name: run.run_id for run in matrix.runs}
        data = matrix.runs[0].run.data.name
        ids[path.stem] |= {canonical(b).decode(): evaluation_id(b, data) for b in matrix.benchmarks}
    if os.environ.get("CEBCTL_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(ids, indent=1) + "\n")
    assert ids == json.loads(GOLDEN.read_text())


def test_names_mean_what_they_meant_and_axes_are_called_as_they_were() -> None:
    """A new field may not make the short name of another ambiguous: matrices, selections and scripts use it."""
    golden = json.loads(GOLDEN_NAMES.read_text())
    names = {name: ".".join(path) for name, path in schema(Run).unique_names().items()}
    assert {name: names.get(name) for name in golden["fields"]} == golden["fields"]
    matrices = {path.stem: load(path) for path in sorted((ROOT / "experiments").glob("*.yaml"))}
    axes = {name: sorted({axis for run in matrix.runs for axis in run.axes}) for name, matrix in matrices.items()}
    assert {name: axes[name] for name in golden["axes"]} == golden["axes"]


def test_an_id_survives_json(expand) -> None:
    run = expand("grids: [{objective: ceb, rho: 0.1}]").runs[0].run
    assert run_id(msgspec.json.decode(canonical(run), type=type(run))) == run_id(run)


def test_numbers_that_are_equal_have_one_id(expand) -> None:
    ids = {expand(f"grids: [{{objective: ceb, rho: {rho}}}]").runs[0].run_id for rho in ("0", "0.0", "-0.0", "0e5")}
    assert len(ids) == 1


def test_every_field_matters(expand) -> None:
    grids = "objective: ceb, rho: 1"
    variations = ["", ", seed: 1", ", batch: 9", ", lr: 2e-3", ", width: 17", ", jump_start: {name: gamma, steps: 3}"]
    ids = {expand(f"grids: [{{{grids}{extra}}}]").runs[0].run_id for extra in variations}
    assert len(ids) == len(variations)
