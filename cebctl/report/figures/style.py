"""Colours, signs and dashes that are told apart by the colour-blind (Okabe & Ito, 2008), in grey print and on dark."""

from __future__ import annotations

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D00", "#7A7A7A")
SIGNS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""matplotlib's."""
VEGA_SIGNS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "stroke")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (8, 2, 2, 2), (4, 4), (1, 2), (10, 3), (6, 2, 1, 2))
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
"""What stands for a colour that would be lost on a dark page."""


def colour(style: int) -> str:
    return COLOURS[style % len(COLOURS)]


def dash(style: int) -> tuple[int, ...]:
    return DASHES[style % len(DASHES)]


def ladder(style: int, summary: bool) -> str:
    shades = LADDER[summary]
    return shades[min(style, len(shades) - 1)]
