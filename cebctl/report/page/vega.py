"""A figure as a Vega-Lite specification: the same marks that matplotlib draws.

A page holds thousands of marks, so they are packed (`packed`) and the page's script unpacks them into data with the
fields x, y, lo, hi, s(eries), g (which line), l(abel), r(un), k(ind) and c(hosen).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cebctl.report.figures import style
from cebctl.report.figures.marks import Figure, Kind, Mark, Panel, Series

Spec = dict[str, Any]

CURVE: Spec = {
    "width": 240,
    "height": 130,
    "mark": {"type": "line", "strokeWidth": 1.3, "color": style.colour(0), "tooltip": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative", "title": "epoch"},
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": None,
            "scale": {"zero": False},
            "axis": {"format": ".4~r"},
        },
    },
}
"""One metric of one run; the page's script fills in title and data."""

_SIZES = {1: (1, 700, 320), 2: (2, 500, 260), 4: (2, 500, 220)}
"""By the number of panels: how many stand beside each other, their width and height in pixels."""
_RUNG_WIDE, _RUNG_HIGH = 760, 60
_GREY = "#888888"
_SIGNIFICANT = 5
_TOOLTIP = [
    {"field": field, "title": title, **({} if field == "l" else {"type": "quantitative", "format": ".4~r"})}
    for field, title in (("l", "run"), ("y", "value"), ("lo", "low"), ("hi", "high"), ("x", "at"))
]


def spec(figure: Figure) -> Spec:
    """The whole figure; the theme is the page's business."""
    if figure.ladder:
        ends = [mark.value for panel in figure.panels for series in panel.series for mark in series.marks]
        domain = [min(ends, default=0) - 2, min(100.5, max(ends, default=100) + 2)]
        rungs = [_rung(panel, index, figure, domain) for index, panel in enumerate(figure.panels)]
        apart = {"scale": {"color": "independent", "shape": "independent"}}
        return {"concat": rungs, "columns": 1, "spacing": 2, "resolve": apart}
    look = _look([series for panel in figure.panels for series in panel.series], style.colour)
    across, width, height = _SIZES.get(len(figure.panels), (3, 320, 190))
    panels = [_panel(panel, look) | {"width": width, "height": height} for panel in figure.panels]
    return {"concat": panels, "columns": across, "spacing": 24}


# --- marks ---


def packed(panel: Panel) -> list[Spec]:
    """The series of a panel; `p` holds [x, y, lo, hi] or [x, y]; labels and runs stand once where all are one."""
    found = []
    for series in panel.series:
        one: Spec = {"s": series.name, "k": series.kind, "p": [_numbers(mark) for mark in series.marks]}
        one |= {"l": _once([mark.label for mark in series.marks]), "r": _once([mark.run_id for mark in series.marks])}
        chosen = [index for index, mark in enumerate(series.marks) if mark.chosen]
        found.append(one | ({"c": chosen} if chosen else {}))
    return found


def _numbers(mark: Mark) -> list[float]:
    ends = [] if mark.low is None or mark.high is None else [mark.low, mark.high]
    return [float(f"{value:.{_SIGNIFICANT}g}") for value in (mark.at, mark.value, *ends)]


def _once(texts: Sequence[str]) -> str | Sequence[str]:
    return texts[0] if len(set(texts)) == 1 else texts


# --- how series look ---


@dataclass(frozen=True)
class _Look:
    """The same for every panel that shares its scales."""

    colour: Spec
    shape: Spec
    dash: Spec


def _look(series: Sequence[Series], colour_of: Callable[[int], str], legend: bool = True) -> _Look:
    shown = {one.name: one for one in series if one.kind != "reference"}
    styles, dashes = [one.style for one in shown.values()], [one.dash for one in shown.values()]
    below = {"orient": "bottom", "title": None, "labelLimit": 320, "symbolOpacity": 1} if legend else None

    def scale(values: list[Any], legend: Spec | None) -> Spec:
        return {"field": "s", "type": "nominal", "scale": {"domain": list(shown), "range": values}, "legend": legend}

    return _Look(
        scale([colour_of(number) for number in styles], below),
        scale([style.VEGA_SIGNS[number % len(style.VEGA_SIGNS)] for number in styles], below),
        scale([list(style.dash(number)) or [1, 0] for number in dashes], below),
    )


# --- panels beside each other ---


def _panel(panel: Panel, look: _Look) -> Spec:
    _, end = panel.reach(margin=0)
    at: Spec = {"field": "x", "type": "quantitative", "title": panel.at, "scale": {"zero": False, "nice": False}}
    at["axis"] = {"format": ".4~r"}
    if panel.radius and end > 100:
        at["scale"] = {"type": "symlog", "constant": 100, "nice": False}
        at["axis"] = {"values": [0, 25, 50, 100, 300, 1000]}
    value: Spec = {"field": "y", "type": "quantitative", "title": panel.value, "scale": {"zero": False}}
    value["axis"] = {"format": ".4~r"}
    if panel.log:
        value["scale"] = {"type": "log"}
    many = any(len(series.marks) > 30 for series in panel.series)
    layers = [*_diagonal(panel), *_across(panel, value, look, "y")]
    if _has(panel, "line"):
        encoding = {"x": at, "y": value, "color": look.colour, "strokeDash": look.dash, "detail": {"field": "g"}}
        layers.append(_layer("line", {"type": "line", "strokeWidth": 1.2}, encoding | {"order": {"field": "x"}}))
    for kind in ("line", "points"):
        if _has(panel, kind, bars=True):
            bars = {"x": at, "y": value | {"field": "lo"}, "y2": {"field": "hi"}, "color": look.colour}
            layers.append(_layer(kind, {"type": "rule"}, bars))
    layers += _dots(panel, "line", {"filled": True, "size": 10 if many else 45}, at, value, look)
    layers += _dots(panel, "points", {"shape": "cross", "angle": 45, "filled": True, "size": 60}, at, value, look)
    layers += _dots(panel, "published", {"filled": False, "size": 130, "strokeWidth": 1.5}, at, value, look)
    layers += _dots(
        panel, "reference", {"shape": "cross", "filled": True, "size": 150, "color": _GREY}, at, value, look
    )
    return {"title": panel.title, "data": {"lines": packed(panel)}, "layer": layers}


def _diagonal(panel: Panel) -> list[Spec]:
    if not panel.diagonal:
        return []
    place = {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}
    ends = {"values": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]}
    return [{"data": ends, "mark": {"type": "line", "color": _GREY}, "encoding": place}]


def _across(panel: Panel, value: Spec, look: _Look, axis: str) -> Iterator[Spec]:
    """Baselines: a line across the panel with its interval as a band."""
    if not _has(panel, "baseline"):
        return
    if _has(panel, "baseline", bars=True):
        band = {axis: value | {"field": "lo"}, f"{axis}2": {"field": "hi"}, "color": look.colour}
        yield _layer("baseline", {"type": "rect", "opacity": 0.13}, band)
    rule = {axis: value, "color": look.colour, "strokeDash": {"value": [6, 3]}, "tooltip": _TOOLTIP}
    yield _layer("baseline", {"type": "rule", "strokeWidth": 2, "cursor": "pointer"}, rule)


def _dots(panel: Panel, kind: Kind, mark: Spec, x: Spec, y: Spec, look: _Look) -> Iterator[Spec]:
    if not _has(panel, kind):
        return
    encoding: Spec = {"x": x, "y": y, "tooltip": _TOOLTIP}
    if "color" not in mark:
        encoding["color"] = look.colour
    if "shape" not in mark:
        encoding["shape"] = look.shape
    yield _layer(kind, {"type": "point", "opacity": 1, "cursor": "pointer"} | mark, encoding)


def _layer(kind: str, mark: Spec, encoding: Spec) -> Spec:
    return {"mark": mark, "transform": [{"filter": f"datum.k == '{kind}'"}], "encoding": encoding}


def _has(panel: Panel, kind: Kind, bars: bool = False) -> bool:
    marks = [mark for series in panel.series if series.kind == kind for mark in series.marks]
    return any(mark.low is not None for mark in marks) if bars else bool(marks)


# --- v1 Figure 4 ---


def _rung(panel: Panel, index: int, figure: Figure, domain: list[float]) -> Spec:
    last, summary = index == len(figure.panels) - 1, index < figure.summary
    look = _look(panel.series, lambda number: style.ladder(number, summary), legend=last)
    axis: Spec = {"title": "error, %"} if last else {"labels": False, "ticks": False, "title": None}
    value: Spec = {"field": "y", "type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": axis}
    title: Spec = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": _RUNG_HIGH / 2}
    hidden: Spec = {"labels": False, "ticks": False, "grid": False, "domain": False}
    at: Spec = {"field": "x", "type": "quantitative", "title": panel.title, "scale": {"domain": panel.reach(margin=1)}}
    at["axis"] = title | hidden
    layers = [*_across(panel, value, look, "x")]
    if _has(panel, "line"):
        line = {"x": value, "y": at, "color": look.colour, "detail": {"field": "g"}, "order": {"field": "x"}}
        layers.append(_layer("line", {"type": "line", "strokeWidth": 1}, line))
        layers += _dots(panel, "line", {"filled": True, "size": 14, "shape": "circle"}, value, at, look)
        chosen = next(_dots(panel, "line", {"filled": True, "size": 60}, value, at, look))
        layers.append(chosen | {"transform": [{"filter": "datum.k == 'line' && datum.c"}]})
    layers += _dots(panel, "published", {"filled": False, "size": 90, "strokeWidth": 1.2}, value, at, look)
    return {"width": _RUNG_WIDE, "height": _RUNG_HIGH, "data": {"lines": packed(panel)}, "layer": layers}
