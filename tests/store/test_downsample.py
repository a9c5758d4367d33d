"""Curves thinned for plots."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.journal.records import Metrics
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.downsample import FEWEST, minmax_decimate
from store.ingest import ingest
from store.row_types import MetricPoint

values = st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=300)


def curve(values: list[float | None]) -> list[MetricPoint]:
    return [MetricPoint("train", "loss", 10 * n, 1, n / 7, value) for n, value in enumerate(values)]


@given(values, st.integers(FEWEST, 60))
def test_what_a_thinned_curve_keeps(values: list[float | None], at_most: int) -> None:
    whole = curve(values)
    kept = minmax_decimate(whole, at_most)
    assert len(kept) <= at_most
    assert kept == [point for point in whole if point in set(kept)]  # points that were measured, in their order
    assert kept[:1] == whole[:1] and kept[-1:] == whole[-1:]
    finite = [value for value in values if value is not None]
    left = [point.value for point in kept if point.value is not None]
    assert (min(left), max(left)) == (min(finite), max(finite)) if finite else not left
    assert (None in values) == (None in [point.value for point in kept])


@given(values, st.integers(FEWEST, 60))
def test_every_piece_keeps_its_range(values: list[float | None], at_most: int) -> None:
    whole = curve(values)
    kept = set(minmax_decimate(whole, at_most))
    pieces = (at_most - 2) // (3 if None in values else 2)
    for piece in range(pieces):
        part = whole[len(whole) * piece // pieces : len(whole) * (piece + 1) // pieces]
        finite = [point.value for point in part if point.value is not None]
        left = [point.value for point in part if point.value is not None and point in kept]
        assert (min(left), max(left)) == (min(finite), max(finite)) if finite else not left


@given(st.integers(0, 299))
def test_one_spike_is_never_lost(at: int) -> None:
    assert 1.0 in [point.value for point in minmax_decimate(curve([float(n == at) for n in range(300)]), 20)]


def test_a_short_curve_stays_whole_and_too_few_points_are_an_error() -> None:
    whole = curve([3.0, None, 1.0, 4.0, 1.0])
    assert minmax_decimate(whole, 5) == whole
    with pytest.raises(ValueError, match="at least 5 are needed"):
        minmax_decimate(whole, 4)


def test_a_query_thins_each_curve_and_the_store_keeps_all(store: Store, home: Home, write: Any) -> None:
    points = [Metrics(step=n, epoch=n, values={"loss": -n, "rate": n % 7}) for n in range(1000)]
    write(home.run("r").journal("train", 1), *points)
    ingest(store, home)
    few = queries.metrics(store, "r", at_most=50)
    for name in ("loss", "rate"):
        assert 45 < sum(point.name == name for point in few) <= 50
    assert len(queries.metrics(store, "r")) == 2000
