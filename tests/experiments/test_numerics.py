"""The table of numerics versions: every part of the engine is in it, and every number depends on the right ones."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
from msgspec import UNSET, Struct, UnsetType, structs

from experiments import numerics, spec
from experiments.benchmarks import (
    CORRUPTIONS,
    AnyBenchmark,
    AutoAttack,
    Cifar101,
    Clean,
    CommonCorruptions,
    GradientAudit,
    Information,
    Pgd,
    TrainingRate,
)
from experiments.datasets import DATASETS, OTHER_TEST_SETS
from experiments.numerics import (
    FIRST,
    NO_RESULT,
    VERSIONS,
    VersionDifference,
    compare_versions,
    evaluation_versions,
    training_versions,
)

RUN = spec.Run(
    data=spec.Data(name="digits"),
    network=spec.SmallCnn(),
    objective=spec.Ceb(rho=1.0),
    optimiser=spec.Adam(),
    epochs=1,
    batch=8,
)


def values(kind: Any) -> Iterator[Any]:
    """A value for every member of every union and literal in a type, one changed at a time."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is spec.DataName:
        yield from (*spec.DATA_SETS, "own:pictures")
    elif origin is Annotated:
        yield from values(arguments[0])
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, types.UnionType):
        yield from (value for member in arguments for value in values(member))
    elif origin is tuple:
        yield (1,)
    elif isinstance(kind, type) and issubclass(kind, spec.Part):
        return  # it counts by its digest
    elif isinstance(kind, type) and issubclass(kind, Struct):
        yield from variations(kind)
    else:
        yield {int: 1, float: 0.5, bool: True, str: "r0123456789abcdef", UnsetType: UNSET, types.NoneType: None}[kind]


def variations(kind: type[Struct]) -> Iterator[Any]:
    fields = msgspec.structs.fields(kind)
    first = kind(**{field.name: next(values(field.type)) for field in fields if field.required})
    yield first
    for field in fields:
        yield from (structs.replace(first, **{field.name: value}) for value in values(field.type))


def runs() -> Iterator[spec.Run]:
    for name in values(spec.DataName):
        for run in variations(spec.Run):
            yield structs.replace(run, data=structs.replace(run.data, name=name))
    yield structs.replace(RUN, network=spec.ResNet(depth=50), weights="sha256:" + "0" * 64)


def every_benchmark() -> Iterator[AnyBenchmark]:
    yield from values(AnyBenchmark)


def test_every_member_of_every_union_has_its_part_and_no_part_is_an_orphan() -> None:
    used = {part for run in runs() for part in training_versions(run)}
    used |= {p for name in values(spec.DataName) for b in every_benchmark() for p in evaluation_versions(_on(name), b)}
    assert used == VERSIONS.keys() - set(NO_RESULT)
    assert {f"data.{name}" for name in (*DATASETS, *OTHER_TEST_SETS)} < VERSIONS.keys()
    assert not numerics.RETIRED & VERSIONS.keys() and all(version >= FIRST for version in VERSIONS.values())


def _on(data: str) -> spec.Run:
    return structs.replace(RUN, data=spec.Data(name=data))


@pytest.mark.parametrize("field", ["network", "objective", "optimiser", "precision", "adversary"])
def test_what_a_run_is_made_of_decides_its_parts(field: str) -> None:
    kinds = {next(f.type for f in structs.fields(spec.Run) if f.name == field)}
    members = {type(value): value for kind in kinds for value in values(kind)}
    chosen = [*values(next(iter(kinds)))] if field == "precision" else [*members.values()]
    assert (
        len({frozenset(training_versions(structs.replace(RUN, **{field: value}))) for value in chosen})
        == len(chosen)
        > 1
    )


def test_a_number_depends_on_what_made_it_and_on_nothing_else() -> None:
    training = training_versions(RUN)
    assert {"network.small_cnn", "objective.ceb", "optimiser.marginal", "data.digits"} < training.keys()
    assert not [part for part in training if part.split(".")[0] in ("attack", "evaluator", "corruption", "jump_start")]
    clean = evaluation_versions(RUN, Clean())
    assert "head.linear" in clean and not {"head.marginal", "randomness.generator"} & clean.keys()
    assert {"head.marginal", "head.backward_encoder"} < evaluation_versions(RUN, Information()).keys()
    attacked = evaluation_versions(RUN, Pgd(norm="linf", eps=0.1, random_start=False, loss="dlr"))
    assert {"attack.pgd", "attack.loss_dlr"} < attacked.keys()
    assert not {"attack.random_start", "attack.loss_margin", "attack.autoattack_standard"} & attacked.keys()
    standard, rand = (evaluation_versions(RUN, AutoAttack(norm="l2", eps=1, version=v)) for v in ("standard", "rand"))  # type: ignore[arg-type]
    assert "attack.autoattack_standard" in standard and {"attack.apgd", "attack.loss_margin"} <= rand.keys()
    assert not {"attack.fab", "attack.square"} & rand.keys()
    # Of results that the one part made for both, standard's are today's and rand's are not.
    made = dict.fromkeys(evaluation_versions(RUN, Clean()), 1) | {"attack.autoattack": 1, "evaluator.autoattack": 1}
    raised = ("attack.apgd", "attack.autoattack_standard", "attack.square")
    assert compare_versions(made, standard).raised == raised
    assert compare_versions(made, rand).raised == ("attack.apgd", "evaluator.autoattack_rand")
    assert {"attack.square", "attack.loss_margin"} < evaluation_versions(RUN, GradientAudit(norm="l2", eps=1)).keys()
    assert evaluation_versions(RUN, TrainingRate()).keys() == {
        "evaluator.training_rate",
        "evaluation.measure",
        "metrics.epoch",
    }
    assert "data.cifar10.1-v4" in evaluation_versions(_on("cifar10"), Cifar101(version="v4"))
    imported = structs.replace(RUN, epochs=0, weights="sha256:" + "0" * 64)
    assert training_versions(imported).keys() == {"init.weights_file"}


def test_an_error_under_a_corruption_depends_on_that_corruption_alone() -> None:
    made = evaluation_versions(_on("cifar10"), CommonCorruptions(pipeline="in-memory"))
    assert {f"corruption.{name}" for name in CORRUPTIONS} < made.keys()
    for measure in ("fog", "fog/3"):
        left = numerics.measure_versions(made, measure)
        assert made.keys() - left.keys() == {f"corruption.{name}" for name in CORRUPTIONS if name != "fog"}
    assert numerics.measure_versions(made, "corrupt_images") == made
    official = evaluation_versions(_on("cifar10"), CommonCorruptions(pipeline="official"))
    assert "data.cifar10-c" in official and not [part for part in official if part.startswith("corruption.")]


def test_versions_are_held_against_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERSIONS, "attack.pgd", 3)
    made = evaluation_versions(RUN, Pgd(norm="linf", eps=0.1))
    assert not compare_versions(made, made)
    assert compare_versions(made | {"attack.pgd": 2}, made) == VersionDifference(raised=("attack.pgd",))
    assert compare_versions(made | {"attack.pgd": 4}, made) == VersionDifference(newer=("attack.pgd",))
    assert compare_versions(made | {"attack.of_the_future": 1}, made).newer == ("attack.of_the_future",)
    assert compare_versions({}, ["attack.pgd", "data.digits"]).raised == ("attack.pgd",), (
        "a part not named is at its first"
    )
    monkeypatch.setattr(numerics, "RETIRED", frozenset({"attack.old"}))
    assert not compare_versions(made | {"attack.old": 7}, made)


def test_the_engine_that_recorded_no_versions_had_the_first_of_every_part() -> None:
    assert numerics.recorded_versions({}, "82611ebf35b1da7a") == {}
    assert numerics.recorded_versions({}, "0123456789abcdef") is None and numerics.recorded_versions({}, None) is None
    assert compare_versions(None, ()) == VersionDifference(unrecorded=True)
    assert numerics.recorded_versions({"attack.pgd": 2}, "82611ebf35b1da7a") == {"attack.pgd": 2}
