"""What counts as the same number, and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.jobs.engine.golden.pins import differences, written


def moved(now: Any, then: Any, tolerance: float = 1e-3) -> bool:
    return bool(list(differences(written(now), written(then), tolerance)))


@pytest.mark.parametrize(
    ("now", "then", "differ"),
    [
        ({"a": 1.0}, {"a": 1.0005}, False),
        ({"a": 1.0}, {"a": 1.002}, True),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, True),  # a number that is not made any more
        ({"a": 3}, {"a": 4}, True),
        ({"a": [1000, 1000]}, {"a": [1000, 1001]}, True),  # whole numbers are exact
        ({"a": True}, {"a": False}, True),
        ({"a": "torch.float32"}, {"a": "torch.float64"}, True),
        ({"a": [1.0, None]}, {"a": [1.0, 2.0]}, True),
        ({"a": [0.0001, 100.0]}, {"a": [0.0, 100.0]}, False),  # by the size of all
        ({"a": [0.2, 100.0]}, {"a": [0.0, 100.0]}, True),
    ],
)
def test_a_number_moves_beyond_its_tolerance(now: Any, then: Any, differ: bool) -> None:
    assert moved(now, then) == differ


def test_one_value_among_thousands_moves_the_sums() -> None:
    values = np.random.default_rng(0).standard_normal(5000)
    other = values.copy()
    other[1234] += 5
    assert moved(values, other) and moved(values, np.roll(values, 1)) and not moved(values, values + 1e-6)
    whole = torch.arange(5000)
    assert moved(whole, whole.flip(0), tolerance=1.0) and moved(whole, whole.view(50, 100)) and not moved(whole, whole)
