"""Colours (Okabe & Ito, 2008), signs and dashes for the colour-blind, for grey print and for a dark page."""

from __future__ import annotations

from itertools import accumulate, cycle, takewhile

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D00", "#7A7A7A")
GREY = "#888888"
SIGNS = (
    "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",  # circle
    "M-.9,-.9H.9V.9H-.9Z",  # square
    "M0,-1.1L1.1,.9H-1.1Z",  # triangle
    "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",  # diamond
    "M-1.1,-.9H1.1L0,1.1Z",  # triangle, point down
    "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z",  # plus
    "M-.9,-1.1L1.1,0L-.9,1.1Z",  # triangle, point right
    "M.9,1.1L-1.1,0L.9,-1.1Z",  # triangle, point left
)
"""SVG paths within a square from -1 to 1; clockwise as `legend_line`, or their overlap would be a hole."""
UP, DOWN = SIGNS[2], SIGNS[4]
"""Where the numbers lie of which a bound is published."""
DOTTED = (1, 3)
BAND = "#CCCCCC"
CROSS = "M-1,-1L1,1M-1,1L1,-1"
PLUS = "M-1.2,0H1.2M0,-1.2V1.2"
DASHES = ((24, 0), (6, 2), (2, 2), (8, 2, 2, 2), (4, 4), (1, 2), (10, 3), (6, 2, 1, 2))
"""Lengths of strokes and gaps in pixels; the first is solid."""
LADDER = {
    False: ("#7FB3D5", "#2874A6", "#0B2F4E"),
    True: ("#F1948A", "#C0392B", "#641E16"),
}
"""Light to dark for ever larger networks: blue, and red for the summaries."""
ON_DARK = {
    "#0072B2": "#4AA8DE", "#8A6D00": "#C9A227", "#7A7A7A": "#A0A0A0",
    "#7FB3D5": "#3F7FA8", "#2874A6": "#85C1E9", "#0B2F4E": "#EAF4FB",
    "#F1948A": "#A9574F", "#C0392B": "#F1948A", "#641E16": "#FBEAE8",
}  # fmt: skip
"""What replaces a colour that a dark page would swallow."""


def colour(style: int) -> str:
    return COLOURS[style % len(COLOURS)]


def ladder_colour(style: int, is_summary: bool) -> str:
    shades = LADDER[is_summary]
    return shades[min(style, len(shades) - 1)]


def sign(style: int) -> str:
    return SIGNS[style % len(SIGNS)]


def dash(style: int) -> tuple[int, ...]:
    return DASHES[style % len(DASHES)]


def legend_line(dash: tuple[int, ...]) -> str:
    """Return the path of a line through a legend's sign, in filled pieces: a dashed stroke would also cut the sign."""
    edges = [*takewhile(lambda edge: edge < 20, accumulate(cycle(dash), initial=0)), 20]
    pieces = [(start / 4 - 2.5, stop / 4 - 2.5) for start, stop in zip(edges[::2], edges[1::2], strict=False)]
    return "".join(f"M{start:g},-.17H{stop:g}V.17H{start:g}Z" for start, stop in pieces)
