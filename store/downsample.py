"""Fewer points of a curve for a plot, so that nothing that the eye looks for is lost.

The points are cut, in the order of their steps, into pieces of equal count (but for one); of each piece the
lowest, the highest and the first value that was not finite are kept, and the first and the last point of the
curve. So the curve keeps its ends, its range, and the range of each piece: no spike and no divergence
disappears, which means over pieces, or every n-th point, would do. Each point kept is one that was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from store.row_types import MetricPoint

FEWEST = 5
"""The ends and one piece."""


def minmax_decimate(points: Sequence[MetricPoint], at_most: int) -> list[MetricPoint]:
    """At most so many of the points of one curve, which come in the order of their steps; all of them if they are
    no more than that. Raises ValueError for fewer than `FEWEST`."""
    if at_most < FEWEST:
        raise ValueError(f"a curve can't be thinned to {at_most} points, at least {FEWEST} are needed")
    if len(points) <= at_most:
        return list(points)
    of_each = 2 if all(point.value is not None for point in points) else 3
    pieces = (at_most - 2) // of_each
    kept = {0, len(points) - 1}
    for piece in range(pieces):
        kept.update(_extremes(points, range(len(points) * piece // pieces, len(points) * (piece + 1) // pieces)))
    return [points[index] for index in sorted(kept)]


def _extremes(points: Sequence[MetricPoint], piece: range) -> Iterator[int]:
    finite = [(value, index) for index in piece if (value := points[index].value) is not None]
    if finite:
        yield min(finite)[1]
        yield max(finite)[1]
    if len(finite) < len(piece):
        yield next(index for index in piece if points[index].value is None)
