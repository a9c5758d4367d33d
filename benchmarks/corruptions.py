"""Corrupted images per second of one core: ours against the published method, one image at a time.

    python benchmarks/corruptions.py [--images 8] [--repeats 3]

Of each corruption all five severities, on squares of the photographs that scikit-learn ships. CPU seconds of this
process on one thread; both in turn, several times over: the ratio is the median over the rounds, with their range. The
published method, with scikit-image, SciPy and for glass a loop over the pixels, is that of
`tests/jobs/engine/corruptions/plain.py`, which the tests find to give the same images. Not compared: frost and spatter,
of which it has none of its own, and fog, where it goes point by point and the published code does not.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
from measure import Ratio, head, in_turn, row, seconds
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from jobs.engine.corruptions import FUNCTIONS, SEVERITIES, parameters
from tests.jobs.engine.corruptions.photographs import photographs
from tests.jobs.engine.corruptions.plain import PLAIN

COMPARED = {name: plain for name, plain in PLAIN.items() if name != "fog"}
Corrupt = Callable[[NDArray[np.uint8], object, Generator], NDArray[np.uint8]]


def main() -> None:
    """Measure every corruption at 224 and 32 pixels, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="corruptions with this in their names")
    asked = parser.parse_args()
    head("corruption", "224 px, ours", "published", "ours over it", "32 px, ours", "published", "ours over it")
    images = {side: photographs(side, asked.images) for side in (224, 32)}
    totals: dict[int, list[tuple[float, float]]] = {224: [], 32: []}
    for name in (one for one in FUNCTIONS if asked.only in one):
        cells = []
        for side in (224, 32):
            ours, theirs = _seconds(name, images[side], asked.repeats)
            count = len(images[side]) * len(SEVERITIES)
            cells += _cells(ours, theirs, count)
            if theirs:
                totals[side].append((statistics.median(ours) / count, statistics.median(theirs) / count))
        row(name, *cells)
    whole = [_whole(totals[side]) for side in (224, 32)]
    row("all of those with both", *(cell for cells in whole for cell in cells))


def _seconds(name: str, images: list[NDArray[np.uint8]], repeats: int) -> tuple[list[float], list[float]]:
    """CPU seconds for all images at all severities in each round, ours and the published method's (empty: none)."""
    ways: list[Corrupt] = [FUNCTIONS[name], *([COMPARED[name]] if name in COMPARED else [])]
    ours, *theirs = in_turn([lambda way=way: seconds(lambda: _round(way, name, images)) for way in ways], repeats)
    return ours, theirs[0] if theirs else []


def _round(way: Corrupt, name: str, images: list[NDArray[np.uint8]]) -> None:
    for severity in SEVERITIES:
        c = parameters.lookup(name, severity, len(images[0]))
        for index, image in enumerate(images):
            way(image, c, Generator(PCG64(index)))


def _cells(ours: list[float], theirs: list[float], count: int) -> list[str]:
    speed = f"{count / statistics.median(ours):,.0f}"
    if not theirs:
        return [speed, "", ""]
    return [speed, f"{count / statistics.median(theirs):,.0f}", str(Ratio.of(theirs, ours))]


def _whole(both: list[tuple[float, float]]) -> list[str]:
    ours, theirs = (sum(column) / len(both) for column in zip(*both, strict=True))
    return [f"{1 / ours:,.0f}", f"{1 / theirs:,.0f}", f"{theirs / ours:.1f}x"]


if __name__ == "__main__":
    main()
