from __future__ import annotations

import itertools
import math

import pytest
from scipy.stats import kstest

from experiments.errors import MatrixError
from experiments.matrix.samples import SAMPLERS, uniform_numbers

FIELDS = "{lr: {log: [1e-4, 1e-1]}, rho: {from: 0, to: 5}, epochs: {from: 2, to: 8, by: 3}, batch: [8, 16]}"


def sampled(expand, **words: object):
    text = ", ".join(f"{word}: {value}" for word, value in {"fields": FIELDS, **words}.items())
    return expand(f"grids: [{{objective: ceb, sample: {{{text}}}}}]").runs


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_trials_leave_the_earlier_ones_as_they_are(expand, sampler: str) -> None:
    few, many = (sampled(expand, trials=trials, sampler=sampler) for trials in (5, 24))
    assert [run.run_id for run in few] == [run.run_id for run in many[:5]] and len({run.run_id for run in many}) == 24
    other = sampled(expand, trials=24, sampler=sampler, seed=1)
    assert not {run.run_id for run in other} & {run.run_id for run in many}


def test_values_lie_where_they_are_drawn_from(expand) -> None:
    runs = [planned.run for planned in sampled(expand, trials=64)]
    assert all(1e-4 <= run.optimiser.lr <= 1e-1 and 0 <= run.objective.rho <= 5 for run in runs)
    assert {run.epochs for run in runs} == {2, 5, 8} and {run.batch for run in runs} == {8, 16}
    # Of 64 points of the sequence a half lies on either side of the middle, for a rate in its logarithm.
    assert sum(run.optimiser.lr < math.sqrt(1e-4 * 1e-1) for run in runs) == 32
    assert sum(run.objective.rho < 2.5 for run in runs) == 32


def test_they_are_the_runs_of_an_axis_of_these_values(expand) -> None:
    runs = sampled(expand, trials=3)
    values = {"lr": [run.run.optimiser.lr for run in runs], "rho": [run.run.objective.rho for run in runs]}
    values |= {"epochs": [int(run.run.epochs) for run in runs], "batch": [run.run.batch for run in runs]}
    written = expand(f"grids: [{{objective: ceb, zip: {values}}}]".replace("'", "")).runs
    assert [run.run_id for run in written] == [run.run_id for run in runs]


def test_the_sequence_fills_each_sixteenth_once_and_random_numbers_are_uniform() -> None:
    for column in uniform_numbers("sobol", 3, ["a", "b", "c"], 16):
        ordered = sorted(column)
        gaps = [later - earlier for earlier, later in itertools.pairwise(ordered)]
        assert gaps == pytest.approx([1 / 16] * 15)
    first, second = uniform_numbers("random", 0, ["a", "b"], 2000)
    assert kstest(first, "uniform").pvalue > 0.01 and kstest(second, "uniform").pvalue > 0.01
    assert abs(sum((a - 0.5) * (b - 0.5) for a, b in zip(first, second, strict=True)) / 2000 * 12) < 0.06


def test_they_are_the_same_for_ever() -> None:
    """Identities of runs rest on them."""
    assert [round(column[2], 9) for column in uniform_numbers("sobol", 0, ["lr", "rho"], 3)] == SOBOL
    assert [round(column[2], 9) for column in uniform_numbers("random", 0, ["lr", "rho"], 3)] == RANDOM


SOBOL, RANDOM = [0.669706088, 0.532213677], [0.707714417, 0.797606076]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("[1]", "2:34: sample: expected a mapping"),
        ("{trials: 4}", "sample: fields must be set"),
        ("{trials: 0, fields: {lr: [1]}}", "2:43: trials: expected a whole number from 1 to 200,000, got 0"),
        ("{trials: 4, seed: x, fields: {lr: [1]}}", "seed: expected a whole number"),
        ("{trials: 4, sampler: sobl, fields: {lr: [1]}}", "2:55: sampler: 'sobl'; did you mean 'sobol'"),
        ("{trials: 4, count: 2, fields: {lr: [1]}}", "2:46: sample: unknown 'count'"),
        ("{trials: 4, fields: {}}", "fields: expected a mapping of fields"),
        ("{trials: 4, fields: {lr: 3}}", r"2:59: lr: expected \{from: 0, to: 5\}, "),
        (
            "{trials: 4, fields: {lr: {log: [0, 1]}}}",
            "lr: expected two numbers above 0, the lower one first, got 0 and 1",
        ),
        ("{trials: 4, fields: {lr: {from: 2, to: 1}}}", "lr: expected `from` below `to`, got 2 and 1"),
        ("{trials: 4, fields: {lr: {from: a, to: 1}}}", "2:66: lr: expected a number, got 'a'"),
        ("{trials: 4, fields: {rhoo: {from: 0, to: 1}}}", "unknown field 'rhoo'; did you mean"),
        ("{trials: 4, fields: {epochs: {from: 0.5, to: 1, by: 0}}}", "epochs: a range from 0.5 to 1 by 0 never ends"),
        ("{trials: 4, fields: {objective.rho: [1]}}, rho: 2", "rho is set twice"),
    ],
)
def test_what_is_no_sample_is_named_at_its_place(expand, sample: str, message: str) -> None:
    with pytest.raises(MatrixError, match=message):
        expand(f"grids: [{{objective: ceb, sample: {sample}}}]")
