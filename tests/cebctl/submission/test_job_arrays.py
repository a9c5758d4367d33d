"""How arrays share a limit of jobs at once; that Slurm keeps it is in tests/slurm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cebctl.submission.job_arrays import JobArray, divide_into_lanes
from experiments.resources import Resources


def _arrays(sizes: list[int], evaluated: bool = True) -> list[JobArray]:
    """An array of training for each size and, behind it, one of evaluations."""
    runs = [[f"r{number}.{index}" for index in range(size)] for number, size in enumerate(sizes)]
    train = [
        JobArray(f"train-{n}", "train", Resources(), None, ids, list(range(len(ids)))) for n, ids in enumerate(runs)
    ]
    after = [JobArray(f"evaluate-{n}", "evaluate", Resources(), f"train-{n}", ids) for n, ids in enumerate(runs)]
    return [*train, *after * evaluated]


def _at_once(sizes: list[int], slots: int, evaluated: bool) -> list[int]:
    """How many elements of each lane may run at a time: a run is trained or evaluated, never both."""
    found = []
    for lane in divide_into_lanes(_arrays(sizes, evaluated), slots):
        numbers = {int(name.partition("-")[2]) for name in lane.names}
        found.append(lane.slots or sum(sizes[number] for number in numbers))
    return found


@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12), slots=st.integers(1, 40), evaluated=st.booleans())
def test_never_more_than_allowed_and_every_array_once(sizes: list[int], slots: int, evaluated: bool) -> None:
    at_once = _at_once(sizes, slots, evaluated)
    assert sum(at_once) <= slots or sum(at_once) == sum(sizes) <= slots
    assert min(at_once) >= 1
    names = [name for lane in divide_into_lanes(_arrays(sizes, evaluated), slots) for name in lane.names]
    assert sorted(names) == sorted(array.name for array in _arrays(sizes, evaluated))


@pytest.mark.parametrize(
    ("sizes", "slots", "at_once"),
    [([65, 21], 16, [4, 12]), ([1] * 8, 2, [1, 1]), ([86], 16, [16]), ([5, 5], 16, [5, 5]), ([40, 40], 3, [3])],
)
def test_every_place_has_its_work_at_the_start(sizes: list[int], slots: int, at_once: list[int]) -> None:
    assert sorted(_at_once(sizes, slots, True)) == at_once


def test_an_array_waits_for_all_before_it_in_its_lane() -> None:
    """In the order of sending, so that nothing waits for what comes later."""
    [first, second] = divide_into_lanes(_arrays([3, 2, 1, 1]), 2)
    for lane in (first, second):
        numbers = [name.partition("-") for name in lane.names]
        assert [kind for kind, _, _ in numbers] == sorted((kind for kind, _, _ in numbers), reverse=True)
