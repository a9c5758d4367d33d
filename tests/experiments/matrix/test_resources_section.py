"""Settings of the computation of training are in `resources`: for some runs, and in no run's identity."""

from __future__ import annotations

import msgspec
import pytest

from experiments import resources
from experiments.errors import MatrixError
from experiments.resources import Execution, Resources

GRID = "grids: [{objective: ceb, rho: [1, 2]}]"


def test_it_is_chosen_for_training_and_for_some_runs_and_changes_no_id(expand) -> None:
    plain = expand(GRID)
    chosen = expand(
        f"{GRID}\nresources: {{train: {{compile: default}}, "
        "when: [{only: rho = 2, train: {execution: {channels_last: false, update: for-loop}}}]}"
    )
    first, second = (chosen.resources(run, "train") for run in chosen.runs)
    assert first.execution == Execution(compile="default")
    assert second.execution == Execution(compile="default", channels_last=False, update="for-loop")
    assert resources.format_resources(second).endswith("compile default, channels_last False, update for-loop")
    assert chosen.resources(chosen.runs[1], "evaluate").execution == Execution()
    assert [run.run_id for run in chosen.runs] == [run.run_id for run in plain.runs]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            "train: {compile: max-autotune}",
            "compile: expected one of off, default, reduce-overhead, got 'max-autotune'",
        ),
        ("evaluate: {compile: default}", "execution.compile: evaluations have no such choice; leave it out"),
        ("train: {channels_last: 1}", "channels_last: expected true or false or null, got 1"),
        ("train: {directives: [nodes=2]}", "directives: nodes is not allowed; set nodes beside `directives`"),
        (
            "evaluate: {directives: [hint=x, ntasks=8]}",
            "directives: ntasks is not allowed; set nodes and gpus",
        ),
        (
            "train: {directives: [help]}",
            "directives: help is not allowed; leave it out: with it sbatch",
        ),
        (
            "train: {directives: [clusters=b]}",
            "directives: clusters is not allowed; name the other cluster",
        ),
        (
            "train: {directives: [mail-type=END, --hold]}",
            "directives: expected an option such as mail-type=END, and none that cebctl sets itself, got '--hold'",
        ),
    ],
)
def test_what_can_not_be_chosen_is_named_in_its_place(expand, stages: str, message: str) -> None:
    with pytest.raises(MatrixError) as caught:
        expand(f"{GRID}\nresources: {{{stages}}}")
    [fault] = caught.value.faults
    assert fault.message.startswith(message) and fault.line == 3


def test_nodes_may_be_excluded_as_a_hostlist(expand) -> None:
    matrix = expand(f"{GRID}\nresources: {{train: {{directives: ['exclude=n[1-2,7],m3']}}}}")
    assert matrix.resources(matrix.runs[0], "train").directives == ("exclude=n[1-2,7],m3",)


def test_resources_that_name_nothing_are_read_as_they_were_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Resources()), type=Resources) == Resources()
