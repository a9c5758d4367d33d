"""The parts of a figure, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "line", "points", "baseline", "published", "published_line", "published_range", "published_bound", "reference"
]
"""`baseline`: one value for every abscissa, a line across; `reference`: a point that theory gives.

The papers' numbers are grey: `published` ones hollow, a `published_line` across with its name on it, a
`published_range` a band from `low` to `high`, a `published_bound` with triangles that point to where they lie."""
PUBLISHED = ("published", "published_line", "published_range", "published_bound")


@dataclass(frozen=True)
class Mark:
    """One number. Accuracies and errors are percent here, as figures show them."""

    at: float
    """The abscissa: rho, radius, epoch or rate."""
    value: float
    low: float | None = None
    high: float | None = None
    run_id: str = ""
    """The run that the mark opens on the page; empty for several runs and for published numbers."""
    label: str = ""
    chosen: bool = False
    """At rho*."""


@dataclass(frozen=True)
class Series:
    """Marks that belong together."""

    name: str
    kind: Kind
    style: int
    """The number of its colour and sign: a model looks the same in all panels."""
    marks: tuple[Mark, ...]
    dash: int = 0
    """The number of its dashes."""
    points_down: bool = False
    """Of a bound: the numbers lie below it."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    at: str
    """The title of the abscissa, with its unit."""
    value: str
    """The title of the ordinate, with its unit."""
    series: tuple[Series, ...]
    radius: bool = False
    """The abscissa is a radius on the 0-255 scale: linear to 100, logarithmic past it, as in the papers."""
    log: bool = False
    """The value is logarithmic."""
    upright: float | None = None
    """An abscissa with a dashed line: the radius that a network was trained with."""
    diagonal: bool = False
    """A line marks equal abscissa and ordinate."""

    def reach(self, margin: float) -> tuple[float, float]:
        """Return the least and the greatest abscissa, with a margin."""
        ends = [mark.at for series in self.series for mark in series.marks] or [0.0]
        return min(ends) - margin, max(ends) + margin


@dataclass(frozen=True)
class Figure:
    """Panels under one name."""

    name: str
    """The name of its files: `v2-3`."""
    title: str
    caption: str
    panels: tuple[Panel, ...]
    ladder: bool = False
    """v1 Figure 4: panels on top of each other, the value to the right and rho upward."""
    summary: int = 0
    """The number of summaries among a ladder's panels, which the papers draw in red."""
    forest: bool = False
    """Panels on top of each other, the value and its interval to the right."""
    heading: str = ""
    """A line above the panels, in files too; empty: none, as in the papers."""
