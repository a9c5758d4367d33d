"""One run's number in one column: a result, or computed from several, as mCE is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from cebctl.report.cells import Interval
from cebctl.report.intervals import student, wilson
from experiments.benchmarks import CORRUPTIONS
from store.row_types import ResultRow

Results = Mapping[tuple[str, str, str], ResultRow]
"""By (run_id, evaluation_id, measure)."""

MIN_IMAGES = 2
"""Fewer have no interval: one image says nothing of others."""

_SHARES = ("accuracy", "error", "share", "success")
"""Units of quantities in [0, 1]."""


@dataclass(frozen=True)
class Measurement:
    """A number of one run, with its interval over the images."""

    value: float
    low: float
    high: float
    total: int
    unit: str
    rows: tuple[ResultRow, ...]
    """The results that it comes from."""
    interval: Interval


def run_measurement(
    results: Results, run_id: str, evaluation: str, measure: str, baseline: Mapping[str, float]
) -> Measurement | None:
    """Return a run's number, or None if it was not measured; mCE is relative to `baseline`, errors by corruption."""
    if measure == "mce":
        return _over_corruptions(results, run_id, evaluation, baseline) if baseline else None
    if measure == "average_ce":
        return _over_corruptions(results, run_id, evaluation, None)
    row = results.get((run_id, evaluation, measure))
    if row is None or row.number is None:  # earlier versions wrote numbers that are not finite, as null
        return None
    measurement = _read(row)
    return _error(measurement) if measure in CORRUPTIONS else measurement


def clip_to_range(low: float, high: float, unit: str) -> tuple[float, float]:
    """Return the part of a Student's t interval, which is unbounded, that a quantity of this unit can lie in."""
    return (max(0.0, low), min(1.0, high)) if unit in _SHARES else (low, high)


def _over_corruptions(
    results: Results, run_id: str, evaluation: str, baseline: Mapping[str, float] | None
) -> Measurement | None:
    """Return the mean error, or the mean of its ratios to a baseline's (v1 eq. 9), which is not the ratio of means.

    The images are the same under every corruption, so the interval assumes errors that rise and fall together: it is
    the mean of the ends, the widest that is possible.
    """
    # The papers report a mean over all 15 corruptions, so that one that is missing leaves no number.
    errors = {name: run_measurement(results, run_id, evaluation, name, {}) for name in CORRUPTIONS}
    measured = {name: error for name, error in errors.items() if error is not None}
    if len(measured) < len(CORRUPTIONS):
        return None
    weights = {name: 1 / baseline[name] if baseline else 1.0 for name in CORRUPTIONS}
    value, low, high = (
        fmean(getattr(error, end) * weights[name] for name, error in measured.items())
        for end in ("value", "low", "high")
    )
    rows = tuple(row for error in measured.values() for row in error.rows)
    unit = "relative_error" if baseline else "error"
    interval: Interval = "none" if all(e.interval == "none" for e in measured.values()) else "mean_of_ends"
    return Measurement(value, low, high, measured[CORRUPTIONS[0]].total, unit, rows, interval)


def _read(row: ResultRow) -> Measurement:
    if row.correct is not None:
        if row.total < MIN_IMAGES:
            value = row.correct / row.total
            return Measurement(value, value, value, row.total, row.unit, (row,), "none")
        low, high = wilson(row.correct, row.total)
        return Measurement(row.correct / row.total, low, high, row.total, row.unit, (row,), "wilson")
    assert row.value is not None
    low, high, interval = _over_images(row.value, row.std, row.total, row.unit)
    return Measurement(row.value, low, high, row.total, row.unit, (row,), interval)


def _over_images(value: float, std: float | None, total: int, unit: str) -> tuple[float, float, Interval]:
    """Return the 95% interval of a mean over images; without a standard deviation the value is one of all together."""
    if total < MIN_IMAGES:
        return value, value, "none"
    if unit == "error" and not std and value in (0.0, 1.0):
        return *wilson(value * total, total), "wilson"  # Student's has no width here: as if all were one answer
    if std is None:
        return value, value, "none"
    return *clip_to_range(*student(value, std, total), unit), "student_t"


def _error(measurement: Measurement) -> Measurement:
    if measurement.unit != "accuracy":
        return measurement
    return replace(
        measurement, value=1 - measurement.value, low=1 - measurement.high, high=1 - measurement.low, unit="error"
    )
