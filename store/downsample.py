"""Fewer points of a curve for a plot, by min/max decimation.

The points are cut, in the order of their steps, into pieces of equal count (give or take one). Of each piece the
lowest, the highest and the first value that was not finite stay, and so do the ends of the curve. The curve keeps the
range of each piece: no spike and no divergence disappears, as it would with means or with every n-th point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

FEWEST = 5
"""The ends and one piece."""


class Point(Protocol):
    """A point of a curve, as a `MetricPoint` or its row is."""

    @property
    def value(self) -> float | None: ...


P = TypeVar("P", bound=Point)


def minmax_decimate(points: Sequence[P], at_most: int) -> list[P]:
    """Return at most `at_most` points of one curve, whose points come in the order of their steps.

    Raises ValueError for an `at_most` below `FEWEST`.
    """
    if at_most < FEWEST:
        raise ValueError(f"a curve can't be thinned to {at_most} points, at least {FEWEST} are needed")
    if len(points) <= at_most:
        return list(points)
    per_piece = 2 if all(point.value is not None for point in points) else 3
    pieces = (at_most - 2) // per_piece
    indices = {0, len(points) - 1}
    for piece in range(pieces):
        indices.update(_extremes(points, range(len(points) * piece // pieces, len(points) * (piece + 1) // pieces)))
    return [points[index] for index in sorted(indices)]


def _extremes(points: Sequence[Point], piece: range) -> Iterator[int]:
    finite = [(value, index) for index in piece if (value := points[index].value) is not None]
    if finite:
        yield min(finite)[1]
        yield max(finite)[1]
    if len(finite) < len(piece):
        yield next(index for index in piece if points[index].value is None)
