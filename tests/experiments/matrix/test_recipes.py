"""How a matrix writes optimisers and other parts of a recipe, and what that makes of a run's identity."""

from __future__ import annotations

import msgspec
import pytest

from experiments.errors import MatrixError
from experiments.identity import canonical
from experiments.matrix.spec_fields import schema
from experiments.spec import Run


@pytest.mark.parametrize(
    ("field", "same", "other"),
    [
        ("optimiser", "{name: sgd, lr: 1, nesterov: true}", "{name: sgd, lr: 1, nesterov: false}"),
        ("optimiser", "{name: adam, beta1: 0.9, beta2: 0.999, epsilon: 1e-8}", "{name: adam, beta1: 0.8}"),
    ],
)
def test_what_absence_means_may_be_written_and_leaves_the_id(expand, field: str, same: str, other: str) -> None:
    bare = {"optimiser": "{name: sgd, lr: 1}" if "sgd" in same else "{name: adam}"}[field]
    ids = [expand(f"grids: [{{{field}: {text}, objective: xent}}]").runs[0].run_id for text in (bare, same, other)]
    assert ids[0] == ids[1] != ids[2]


def test_an_axis_may_hold_what_absence_means(expand) -> None:
    matrix = expand("grids: [{optimiser: {name: sgd, lr: 1}, objective: xent, nesterov: [true, false]}]")
    assert [run.name for run in matrix.runs] == ["xent", "xent nesterov=False"]
    assert b"nesterov" not in canonical(matrix.runs[0].run)
    for text, runs in (("nesterov = true", matrix.runs[:1]), ("nesterov = false", matrix.runs[1:])):
        assert matrix.select(text).runs == runs


def test_every_optimiser_by_its_name_and_back(expand) -> None:
    kinds = [tag for tag in schema(Run).sections["optimiser",].kinds if tag != "sgd"]
    runs = expand(f"grids: [{{optimiser: [{', '.join(kinds)}], objective: xent, lr: 0.1}}]").runs
    assert {"adamw", "rmsprop"} < {run.axes["optimiser"] for run in runs} == {*kinds}
    assert all(msgspec.json.decode(canonical(run.run), type=Run) == run.run for run in runs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("optimiser: {name: sgd, lr: 1, momentum: 0, nesterov: false}", "without momentum it has no effect"),
        ("optimiser: {name: adam, momentum: 0.9}", "optimiser 'adam' has no such field"),
        ("optimiser: {name: adamw, beta1: 1}", "beta1: expected a number >= 0 and < 1, got 1"),
        ("optimiser: adamww", "did you mean 'adamw'?"),
        ("optimiser: {name: rmsprop, form: keras}", "form: expected one of tensorflow, got 'keras'"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(expand, fields: str, message: str) -> None:
    with pytest.raises(MatrixError) as error:
        expand(f"grids: [{{objective: xent, {fields}}}]")
    assert message in str(error.value) and len(error.value.faults) == 1


def test_the_short_names_that_matrices_use_stay_theirs() -> None:
    tree = schema(Run)
    for name, path in {
        "rho": "objective.rho", "eps": "adversary.eps", "lr": "optimiser.lr", "momentum": "optimiser.momentum",
        "factor": "schedule.factor", "warmup_epochs": "schedule.warmup_epochs", "policy": "data.augment.policy",
        "augment": "data.augment.name", "start_rho": "objective.jump_start.start_rho", "width": "network.width",
        "threshold": "objective.jump_start.threshold", "components": "objective.marginal.components",
    }.items():  # fmt: skip
        assert ".".join(tree.resolve(name)) == path
