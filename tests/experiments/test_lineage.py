"""Runs that extend others, runs of imported weights, and the contradictions between their fields."""

from __future__ import annotations

import pytest

from experiments import costs, lineage
from experiments.errors import MatrixError
from experiments.identity import run_id

DIGEST = "sha256:" + "0a" * 32


def test_a_run_extends_the_one_that_differs_in_length_alone(expand) -> None:
    short, longer = expand("grids: [{objective: ceb, rho: 1, variants: [short, longer]}]\n"
                           "variants: {short: {epochs: 2}, longer: {epochs: 4, extends: [2]}}").runs  # fmt: skip
    assert lineage.parent_id(longer.run) == short.run_id != longer.run_id
    assert lineage.parent(short.run) is None
    assert costs.training_images(longer.run) == costs.training_images(short.run)
    assert (short.name, longer.name) == ("ceb rho=1 epochs=2", "ceb rho=1 epochs=4")


def test_an_extended_run_is_extended_again(expand) -> None:
    [planned] = expand("grids: [{objective: ceb, rho: 1, epochs: 8, extends: [[2, 4]]}]").runs
    first, second = lineage.ancestors(planned.run)
    assert [(run.epochs, run.extends or ()) for run in (first, second)] == [(2.0, ()), (4.0, (2,))]
    assert lineage.own_epochs(planned.run) == 4
    assert run_id(first) == expand("grids: [{objective: ceb, rho: 1, epochs: 2}]").runs[0].run_id


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ("epochs: 0", "epochs: expected a number > 0, got 0; only a run with imported `weights`"),
        ("epochs: -1", "epochs: expected a number >= 0, got -1"),
        ("epochs: 4, extends: [[4]]", "extends: expected rising lengths below epochs, 4, got 4"),
        ("epochs: 4, extends: [[3, 2]]", "extends: expected rising lengths below epochs, 4, got 3, 2"),
        (f"epochs: 0, extends: [[1]], weights: '{DIGEST}'", "extends: expected rising lengths below epochs, 0, got 1"),
        ("epochs: 4, extends: [[]]", "extends: expected a list"),
        ("epochs: 4, extends: [[1.5]]", "extends: expected a list"),
        (
            "epochs: 0, weights: madry.pt",
            "weights: expected `sha256:` and 64 hex digits, as `cebctl import` prints them",
        ),
    ],
)
def test_what_contradicts_is_named_in_its_place(expand, fields: str, text: str) -> None:
    with pytest.raises(MatrixError) as caught:
        expand(f"grids: [{{objective: xent, {fields}}}]")
    [fault] = caught.value.faults
    assert fault.message.startswith(text) and fault.column > 1


def test_imported_weights_are_part_of_the_identity(expand) -> None:
    weights = f"weights: '{DIGEST}'"
    runs = [
        expand(f"grids: [{{objective: xent, {fields}}}]").runs[0]
        for fields in ("epochs: 1", f"epochs: 1, {weights}", f"epochs: 0, {weights}")
    ]
    assert len({run.run_id for run in runs}) == 3
    assert costs.training_images(runs[2].run) == 0
