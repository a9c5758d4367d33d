"""What a figure consists of, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["line", "points", "baseline", "published", "reference"]
"""`baseline`: one value whatever the abscissa, drawn across; `published`: the papers' numbers, hollow;
`reference`: where theory has a point."""


@dataclass(frozen=True)
class Mark:
    """One number. Accuracies and errors are percent here, as figures show them."""

    at: float
    """Rho, radius, epoch, rate: what it is a function of."""
    value: float
    low: float | None = None
    high: float | None = None
    run_id: str = ""
    """Of the run it opens on the page; empty for several runs and for the papers'."""
    label: str = ""
    chosen: bool = False
    """At rho*."""


@dataclass(frozen=True)
class Series:
    """Marks that belong together."""

    name: str
    kind: Kind
    style: int
    """Which of the colours and signs: the same model looks alike in all panels."""
    marks: tuple[Mark, ...]
    dash: int = 0
    """Which of the dashes."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    at: str
    """What the abscissa is, with its unit."""
    value: str
    series: tuple[Series, ...]
    radius: bool = False
    """The abscissa is a radius on the 0-255 scale: linear to 100, logarithmic past it, as the papers have it."""
    log: bool = False
    """The value is logarithmic."""
    diagonal: bool = False
    """A line on which both are equal."""

    def reach(self, margin: float) -> tuple[float, float]:
        """The least and the greatest abscissa, with a margin."""
        ends = [mark.at for series in self.series for mark in series.marks] or [0.0]
        return min(ends) - margin, max(ends) + margin


@dataclass(frozen=True)
class Figure:
    """Panels under one name."""

    name: str
    """Of its files: `v2-3`."""
    title: str
    caption: str
    panels: tuple[Panel, ...]
    ladder: bool = False
    """v1 Figure 4: panels on top of each other with the value to the right and rho upward."""
    summary: int = 0
    """How many of a ladder's panels are summaries, which the papers draw in red."""
