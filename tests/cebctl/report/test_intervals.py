from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cebctl.report.intervals import mean_and_std, student, wilson


@given(st.integers(1, 50_000), st.data())
def test_wilson_is_scipys(total: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, total))
    theirs = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson(correct, total) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=10))
def test_student_is_scipys(values: list[float]) -> None:
    mean, std = mean_and_std(values)
    if std == 0:
        assert student(mean, std, len(values)) == (mean, mean)
        return
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student(mean, std, len(values)) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("correct", "total"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_proportion_is_refused(correct: int, total: int) -> None:
    with pytest.raises(ValueError):
        wilson(correct, total)


def test_one_value_has_no_student_interval() -> None:
    with pytest.raises(ValueError):
        student(1.0, 0.0, 1)
