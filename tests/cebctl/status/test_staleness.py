"""Which attempts made a run's weights, and where their versions and a result's differ from today's."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from msgspec import structs

from cebctl.status.staleness import Versions, contributing_attempts
from experiments import numerics, spec
from experiments.benchmarks import AnyBenchmark, Clean, CommonCorruptions, Transfer
from experiments.identity import evaluation_id, run_id
from store.row_types import AttemptRow, ResultRow

RUN = spec.Run(
    data=spec.Data(name="digits"),
    network=spec.SmallCnn(),
    objective=spec.Ceb(rho=1.0),
    optimiser=spec.Adam(),
    epochs=4.0,
    batch=8,
)
LONGER = structs.replace(RUN, epochs=8.0, extends=(4,))
KNOWN, UNKNOWN = "82611ebf35b1da7a", "0123456789abcdef"


def attempt(
    number: int,
    resumed: int | None,
    reached: int | None,
    run: spec.Run = RUN,
    engine: str = KNOWN,
    generation: int = 1,
    started_at: float | None = None,
    **versions: int,
) -> AttemptRow:
    numerics = {part.replace("_", ".", 1): version for part, version in versions.items()}
    given = {
        "run_id": run_id(run), "stage": "train", "attempt": number, "resumed_step": resumed,
        "checkpoint_step": reached, "engine": engine, "numerics": numerics, "generation": generation,
        "started_at": started_at,
    }  # fmt: skip
    return AttemptRow(**{field.name: given.get(field.name) for field in fields(AttemptRow)})  # type: ignore[arg-type]


def result(benchmark: AnyBenchmark = Clean(), name: str = "clean", run: spec.Run = RUN, **given: Any) -> ResultRow:
    evaluation = evaluation_id(benchmark, run.data.name)
    given |= {"run_id": run_id(run), "evaluation_id": evaluation, "benchmark": benchmark, "name": name}
    given = {"engine": KNOWN} | given
    return ResultRow(**{field.name: given.get(field.name) for field in fields(ResultRow)})  # type: ignore[arg-type]


def versions(*attempts: AttemptRow) -> Versions:
    return Versions({run_id(run): run for run in (RUN, LONGER)}, attempts, "today")


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ([(1, None, 10), (2, 10, 20)], [1, 2]),
        ([(1, None, 10), (2, None, 20)], [2]),  # began anew
        ([(1, None, 10), (2, 10, None), (3, 10, 20)], [1, 3]),  # the second left nothing
        ([(1, None, 30), (2, 10, 20)], [1, 2]),  # newer checkpoints of the first were broken
        ([(1, None, 10), (2, 10, 30), (3, 10, 20)], [1, 3]),  # those of the second were
        ([(1, None, 20), (2, 20, 20)], [1]),  # nothing was left to do
        ([(1, 5, 10), (2, 10, 20)], [1, 2]),  # it extends a run of 5 steps
        ([(1, None, None)], []),
    ],
)
def test_the_attempts_that_made_the_weights(attempts: list[Any], left: list[int]) -> None:
    rows = [attempt(*each) for each in reversed(attempts)]
    assert [row.attempt for row in contributing_attempts(rows)] == left


def test_training_resumed_under_another_version_is_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(numerics.VERSIONS, "optimiser.adam", 2)
    resumed = versions(attempt(1, None, 10), attempt(2, 10, 20, optimiser_adam=2)).training_drift(run_id(RUN))
    assert resumed.mixed == ("optimiser.adam 1 and 2",) and resumed.difference.raised == ("optimiser.adam",)
    anew = versions(attempt(1, None, 10), attempt(2, None, 20, optimiser_adam=2)).training_drift(run_id(RUN))
    assert not anew.mixed and not anew.difference


def test_a_result_is_of_the_training_of_its_own_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is trained again stands beside the numbers of the one before until it is measured too."""
    monkeypatch.setitem(numerics.VERSIONS, "optimiser.adam", 2)
    found = versions(attempt(1, None, 10), attempt(2, None, 10, generation=2, optimiser_adam=2))
    assert found.result_drift(result(generation=1)).training.raised == ("optimiser.adam",)
    assert not found.result_drift(result(generation=2)).training and not found.training_drift(run_id(RUN)).difference


def test_training_extended_under_another_version_is_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(numerics.VERSIONS, "schedule.drops", 2)
    monkeypatch.setitem(numerics.VERSIONS, "optimiser.adam", 2)
    found = versions(attempt(1, None, 10), attempt(1, 10, 20, LONGER, optimiser_adam=2))
    assert found.training_drift(run_id(LONGER)).mixed == ("optimiser.adam 1 and 2",)
    assert not found.training_drift(run_id(RUN)).mixed
    assert found.result_drift(result(run=LONGER)).training.raised == ("optimiser.adam",), "its parent's training counts"


def test_a_parent_that_is_trained_again_clears_nothing_that_was_made_from_it_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(numerics.VERSIONS, "optimiser.adam", 2)
    parent = attempt(1, None, 10, started_at=1.0)
    again = attempt(2, None, 10, generation=2, started_at=5.0, optimiser_adam=2)
    extended = versions(parent, again, attempt(1, 10, 20, LONGER, started_at=3.0, optimiser_adam=2))
    assert extended.result_drift(result(run=LONGER)).training.raised == ("optimiser.adam",)
    assert extended.training_drift(run_id(LONGER)).mixed == ("optimiser.adam 1 and 2",)
    later = versions(parent, again, attempt(1, 10, 20, LONGER, started_at=7.0, optimiser_adam=2))
    assert not later.training_drift(run_id(LONGER)).difference and not later.training_drift(run_id(LONGER)).mixed
    transfer = Transfer(source=run_id(RUN), norm="linf", eps=0.1)
    assert extended.result_drift(result(transfer, generation=2, measured_at=4.0)).training.raised == ("optimiser.adam",)
    assert not later.result_drift(result(transfer, generation=2, measured_at=6.0)).difference


def test_engines_that_recorded_nothing_are_told_apart_by_their_digests() -> None:
    assert versions(attempt(1, None, 10, engine=UNKNOWN), attempt(2, 10, 20)).training_drift(run_id(RUN)).mixed
    same = versions(attempt(1, None, 10, engine=UNKNOWN), attempt(2, 10, 20, engine=UNKNOWN)).training_drift(
        run_id(RUN)
    )
    assert not same.mixed and same.difference.unrecorded
    assert not versions(attempt(1, None, 10, engine="today")).training_drift(run_id(RUN)).difference
    assert versions().result_drift(result(engine=UNKNOWN)).evaluation.unrecorded


def test_a_result_is_stale_by_its_own_parts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(numerics.VERSIONS, "corruption.motion_blur", 2)
    corrupted = CommonCorruptions(pipeline="ours")
    assert versions().result_drift(result(corrupted, "motion_blur")).evaluation.raised == ("corruption.motion_blur",)
    assert (
        not versions().result_drift(result(corrupted, "fog")).difference
        and not versions().result_drift(result()).difference
    )
    assert versions().result_drift(result(numerics={"evaluator.clean": 2})).evaluation.newer == ("evaluator.clean",)


def test_an_example_made_on_another_network_is_stale_with_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(numerics.VERSIONS, "schedule.warmup", 2)
    transfer = Transfer(source=run_id(LONGER), norm="linf", eps=0.1)
    found = versions(attempt(1, None, 10), attempt(1, 10, 20, LONGER, schedule_warmup=1))
    assert found.result_drift(result(transfer)).training.raised == ("schedule.warmup",)
    assert not found.result_drift(result()).difference
