"""A held-out split of the training images: in matrices and identities."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from experiments import costs
from experiments.benchmarks import CleanHoldout, measures
from experiments.errors import MatrixError
from experiments.identity import canonical, run_id
from experiments.matrix.planned_run import Matrix
from experiments.spec import Run

Expand = Callable[[str], Matrix]


def test_absent_where_nothing_is_held_out(expand: Expand) -> None:
    """So that the runs of before keep their identities (`test_identity`), and the specs in journals stay equal."""
    plain, reserved = expand("grids: [{objective: xent}, {objective: xent, holdout: 100}]").runs
    assert b"holdout" not in canonical(plain.run) and "holdout" not in msgspec.to_builtins(plain.run)["data"]
    assert plain.run_id != reserved.run_id and reserved.run.data.holdout == 100
    assert ("data", "holdout") not in plain.leaves and reserved.leaves["data", "holdout"] == 100
    back = msgspec.convert(msgspec.to_builtins(reserved.run), Run)
    assert back == reserved.run and run_id(back) == reserved.run_id
    assert (plain.name, reserved.name) == ("xent", "xent holdout=100")


def test_is_an_axis_and_selects(expand: Expand) -> None:
    matrix = expand("grids: [{objective: xent, holdout: [100, 200]}]")
    assert [run.axes["holdout"] for run in matrix.runs] == [100, 200]
    assert [run.run.data.holdout for run in matrix.select("holdout = 200").runs] == [200]


def test_less_to_train_on_costs_less(expand: Expand) -> None:
    plain, reserved = expand("grids: [{objective: xent}, {objective: xent, holdout: 437}]").runs
    assert (costs.training_images(plain.run), costs.training_images(reserved.run)) == (1437, 1000)


def test_its_benchmark(expand: Expand) -> None:
    matrix = expand("grids: [{objective: xent, holdout: 100}]\nevaluate: [clean, clean_holdout]")
    assert matrix.benchmarks[1] == CleanHoldout() and measures(CleanHoldout()) == ("clean_holdout",)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("evaluate: [clean_holdout]", ":2:12: clean_holdout: nothing is held out of training for it; set data.holdout"),
        ("grids: [{objective: xent, holdout: 0}]", "holdout: expected a whole number >= 1, got 0"),
        ("grids: [{objective: xent, holdout: null}]", "holdout: expected a whole number >= 1, got None"),
    ],
)
def test_faults(sections: str, message: str, expand: Expand) -> None:
    sections = sections if sections.startswith("grids") else f"{sections}\ngrids: [{{objective: xent}}]"
    with pytest.raises(MatrixError) as raised:
        expand(sections)
    assert message in str(raised.value) and len(raised.value.faults) == 1
