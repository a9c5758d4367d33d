"""The Vega-Lite chart of a figure, which the page draws in the browser and `draw.py` writes to files.

Each mark is a datum with the fields x, y, lo, hi, s(eries), k(ind), g (number of the line), l(abel), r(un), c(hosen)
and the colour, sign and dash of its series. Those three hold what is drawn, not keys of a scale: the legend of such a
scale would cut up a sign by its series' dash. `_legend` makes the legend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from cebctl.report.figures import style
from cebctl.report.figures.marks import PUBLISHED, Figure, Kind, Mark, Panel, Series

Spec = dict[str, Any]
Colour = Callable[[Series], str]

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
"""Number of panels: columns, width and height of a panel in pixels."""
_RUNG_WIDTH, _RUNG_HEIGHT = 760, 60
_TURNS = 3
_BRANCH_HEIGHT = 48
_CROWDED = 30
"""From so many marks on, a line's signs would hide it."""
_SIGNIFICANT = 5
_LINEAR_TO = 100
_PIXELS_PER_E = 36
"""Radii past 100 are logarithmic: a factor of e takes as much room as 36 units before."""
_RADII = (0, 25, 50, 75, 100, 300, 1000, 3000)
_COLOUR: Spec = {"field": "colour", "type": "nominal", "scale": None}
_SIGN: Spec = {"field": "sign", "type": "nominal", "scale": None}
_DASH: Spec = {"field": "dash", "type": "nominal", "scale": None}
_TOOLTIP = [
    {"field": field, "title": title, **({} if field == "l" else {"type": "quantitative", "format": ".4~r"})}
    for field, title in (("l", "run"), ("y", "value"), ("lo", "low"), ("hi", "high"), ("x", "at"))
]


def chart(figure: Figure, for_page: bool) -> Spec:
    """Return the chart of a whole figure; fonts and the colours of text and axes are the caller's `config`.

    The page needs its data packed and, where a line's signs would hide it, invisible ones to point at.
    """
    is_crowded = any(len(series.marks) > _CROWDED for panel in figure.panels for series in panel.series)
    columns, width, height = _SIZES.get(len(figure.panels), (3, 320, 190))
    is_stacked = figure.ladder or figure.forest
    layout: Spec = {"columns": 1, "spacing": 2} if is_stacked else {"columns": columns, "spacing": 24}
    ends = [mark.value for panel in figure.panels for series in panel.series for mark in series.marks]
    domain = (
        _forest_domain(figure) if figure.forest else [min(ends, default=0) - 2, min(100.5, max(ends, default=100) + 2)]
    )
    panels = []
    for index, panel in enumerate(figure.panels):
        if figure.ladder:
            colour: Colour = partial(_rung_colour, is_summary=index < figure.summary)
            spec = _rung(panel, domain, is_last=index == len(figure.panels) - 1)
        elif figure.forest:
            colour = _flat_colour
            spec = _branch(panel, domain, is_last=index == len(figure.panels) - 1)
        else:
            colour = _flat_colour
            spec = _panel(panel, is_crowded, for_page) | {"width": width, "height": height}
        data = {"lines": packed(panel, colour)} if for_page else {"values": rows(panel, colour)}
        panels.append(spec | {"data": data})
    panels[0]["layer"].append(_legend(figure, is_crowded))
    heading: Spec = {"title": figure.heading} if figure.heading else {}
    return {"concat": panels} | layout | heading


# --- data ---


def rows(panel: Panel, colour: Colour) -> list[Spec]:
    """Return a panel's marks as Vega reads them."""
    return [
        _look(series, colour)
        | {"g": line, "x": mark.at, "y": mark.value, "lo": mark.low, "hi": mark.high, "c": mark.chosen}
        for line, series in enumerate(panel.series)
        for mark in series.marks
    ]


def packed(panel: Panel, colour: Colour) -> list[Spec]:
    """Return a panel's marks by series, which the page's script unpacks: a page holds thousands.

    `p` holds [x, y, lo, hi] or [x, y]; labels and runs stand once where all are equal.
    """
    return [
        _look(series, colour)
        | {"p": [_numbers(mark) for mark in series.marks]}
        | {"l": _once([mark.label for mark in series.marks]), "r": _once([mark.run_id for mark in series.marks])}
        | {"c": [index for index, mark in enumerate(series.marks) if mark.chosen]}
        for series in panel.series
    ]


def _numbers(mark: Mark) -> list[float]:
    ends = [] if mark.low is None or mark.high is None else [mark.low, mark.high]
    return [float(f"{value:.{_SIGNIFICANT}g}") for value in (mark.at, mark.value, *ends)]


def _once(texts: Sequence[str]) -> str | Sequence[str]:
    return texts[0] if len(set(texts)) == 1 else texts


def _look(series: Series, colour: Colour) -> Spec:
    sign = {"points": style.CROSS, "reference": style.PLUS}.get(series.kind, style.sign(series.style))
    if series.kind in ("published_bound", "published_line"):
        sign = style.DOWN if series.points_down or series.kind == "published_line" else style.UP
    # A baseline is dashed, even the first, to differ from the lines that cross it.
    dash = style.dash(1 + series.dash % 5 if series.kind == "baseline" else series.dash)
    if series.kind in PUBLISHED:
        dash = style.DOTTED
    return {"s": series.name, "k": series.kind, "colour": colour(series), "sign": sign, "dash": dash}


def _flat_colour(series: Series) -> str:
    return style.GREY if series.kind in ("reference", *PUBLISHED) else style.colour(series.style)


def _rung_colour(series: Series, is_summary: bool = False) -> str:
    return style.ladder_colour(series.style, is_summary)


# --- legend ---


def _legend(figure: Figure, is_crowded: bool) -> Spec:
    """Return a layer without marks, whose scales have the legend of the whole figure."""
    every = [series for panel in figure.panels for series in panel.series]
    entries: dict[str, tuple[str, str, str]] = {}
    for series in every:
        look = _look(series, _rung_colour if figure.ladder else _flat_colour)
        line, colour = style.legend_line(look["dash"]), look["colour"]
        if series.kind in ("line", "baseline"):
            bare = is_crowded or series.kind == "baseline"
            entries.setdefault(series.name, (colour, "transparent", line if bare else line + look["sign"]))
        elif series.kind not in PUBLISHED:
            entries.setdefault(series.name, ("transparent", colour, look["sign"]))
    kinds = {(series.kind, series.points_down) for series in every}
    dotted = style.legend_line(style.DOTTED)
    if ("published", False) in kinds:
        entries["hollow: published"] = ("transparent", style.GREY, style.sign(0))
    if ("published_line", False) in kinds:
        entries["dotted: published"] = (style.GREY, "transparent", dotted)
    if ("published_range", False) in kinds:
        entries["published range"] = (style.BAND, style.BAND, style.sign(1))
    for points_down, word, sign in ((False, "above", style.UP), (True, "below", style.DOWN)):
        if ("published_bound", points_down) in kinds:
            entries[f"published: {word} this"] = ("transparent", style.GREY, sign)
    placed = {"orient": "bottom", "title": None, "labelLimit": 320, "symbolOffset": 6, "labelOffset": 12}
    drawn = {"symbolSize": 60, "symbolStrokeWidth": 1.4, "symbolOpacity": 1}
    channels = zip(("fill", "stroke", "shape"), zip(*entries.values(), strict=True), strict=True)
    return {
        "transform": [{"filter": "false"}],
        "mark": {"type": "point"},
        "encoding": {
            channel: {
                "field": "s",
                "type": "nominal",
                "scale": {"domain": list(entries), "range": values},
                "legend": placed | drawn,
            }
            for channel, values in channels
        },
    }


# --- panels beside each other ---


def _panel(panel: Panel, is_crowded: bool, for_page: bool) -> Spec:
    at: Spec = {"field": "x", "type": "quantitative", "title": panel.at, "axis": {"format": ".4~r"}}
    at["scale"] = {"zero": False, "nice": False, "padding": 0 if panel.radius else 8}
    value: Spec = {"field": "y", "type": "quantitative", "title": panel.value, "axis": {"format": ".4~r"}}
    value["scale"] = {"type": "log"} if panel.log else {"zero": False}
    spec: Spec = {"title": panel.title, "layer": []}
    _, end = panel.reach(margin=0)
    if panel.radius and end > _LINEAR_TO:
        # No scale of Vega's is linear up to a point and logarithmic past it.
        spec["transform"] = [
            {"calculate": f"datum.x > {_LINEAR_TO} ? {_LINEAR_TO} + {_PIXELS_PER_E} * log(datum.x / {_LINEAR_TO}) "
                          ": datum.x", "as": "place"}
        ]  # fmt: skip
        at["field"] = "place"
        at["axis"] = {
            "grid": True,
            "values": [_radius_place(radius) for radius in _RADII if radius <= end],
            "labelExpr": f"datum.value > {_LINEAR_TO} ? "
            f"round({_LINEAR_TO} * exp((datum.value - {_LINEAR_TO}) / {_PIXELS_PER_E})) : datum.value",
        }
        border = {name: entry for name, entry in at.items() if name != "field"} | {"datum": _LINEAR_TO}
        spec["layer"].append(
            {"mark": {"type": "rule", "color": style.GREY, "strokeDash": [1, 2]}, "encoding": {"x": border}}
        )
    if panel.diagonal:
        ends = {"values": [{"x": 0, "y": 0}, {"x": 100, "y": 100}]}
        spec["layer"].append(
            {
                "data": ends,
                "mark": {"type": "line", "color": style.GREY, "strokeWidth": 1},
                "encoding": {"x": at, "y": value},
            }
        )
    if panel.upright is not None:
        place = {name: entry for name, entry in at.items() if name != "field"}
        place["datum"] = _radius_place(panel.upright) if panel.radius else panel.upright
        upright = {"type": "rule", "color": style.GREY, "strokeDash": [6, 3]}
        spec["layer"].append({"mark": upright, "encoding": {"x": place}})
    spec["layer"] += _published(panel, at, value)
    spec["layer"] += _baselines(panel, value, "y")
    if _has(panel, "line"):
        line = {"x": at, "y": value, "color": _COLOUR, "strokeDash": _DASH, "detail": {"field": "g"}}
        mark = {"type": "line", "strokeWidth": 1 if is_crowded else 1.3}
        spec["layer"].append(_layer("line", mark, line | {"order": {"field": "x"}}))
    for kind in ("line", "points"):
        if _has(panel, kind, intervals=True):
            bar = {"x": at, "y": value | {"field": "lo"}, "y2": {"field": "hi"}, "color": _COLOUR}
            spec["layer"].append(_layer(kind, {"type": "rule"}, bar))
    if not is_crowded:
        spec["layer"] += _dots(panel, "line", {"filled": True, "size": 45}, at, value)
    elif for_page:
        for dots in _dots(panel, "line", {"filled": True, "size": 45}, at, value):
            dots["encoding"]["color"] = {"value": "transparent"}
            spec["layer"].append(dots)
    spec["layer"] += _dots(panel, "points", {"size": 40, "strokeWidth": 1.5}, at, value)
    spec["layer"] += _dots(panel, "published", {"size": 130, "strokeWidth": 1.5}, at, value)
    spec["layer"] += _dots(panel, "reference", {"size": 120, "strokeWidth": 2}, at, value)
    return spec


def _published(panel: Panel, at: Spec, value: Spec) -> Iterator[Spec]:
    """Yield what the papers print beyond single numbers: ranges, bounds, and lines across with their names."""
    if _has(panel, "published_range"):
        band = {"x": at, "y": value | {"field": "lo"}, "y2": {"field": "hi"}, "detail": {"field": "g"}}
        yield _layer("published_range", {"type": "area", "color": style.BAND, "opacity": 0.5}, band)
        yield _layer("published_range", {"type": "rule", "color": style.BAND, "strokeWidth": 3}, band)
    if _has(panel, "published_bound"):
        line = {"x": at, "y": value, "color": _COLOUR, "strokeDash": _DASH, "detail": {"field": "g"}}
        yield _layer("published_bound", {"type": "line", "strokeWidth": 1}, line)
        yield from _dots(panel, "published_bound", {"size": 50, "strokeWidth": 1.2}, at, value)
    if _has(panel, "published_line"):
        rule = {"y": value, "color": _COLOUR, "strokeDash": _DASH, "tooltip": _TOOLTIP}
        yield _layer("published_line", {"type": "rule", "strokeWidth": 1.4}, rule)
        # Lines may lie close together: three names in a row do not cover each other.
        for turn in range(_TURNS):
            mark = {"type": "text", "align": "left", "dy": -5, "fontSize": 10, "color": style.GREY}
            text = {"x": {"value": 6 + turn * 220}, "y": value, "text": {"field": "s"}}
            shown = [{"filter": f"datum.k == 'published_line' && datum.g % {_TURNS} == {turn}"}]
            yield {"mark": mark, "transform": shown, "encoding": text}


def _radius_place(radius: float) -> float:
    return radius if radius <= _LINEAR_TO else _LINEAR_TO + _PIXELS_PER_E * math.log(radius / _LINEAR_TO)


def _baselines(panel: Panel, value: Spec, axis: str) -> Iterator[Spec]:
    """Yield lines across the panel, each with its interval as a band."""
    if not _has(panel, "baseline"):
        return
    if _has(panel, "baseline", intervals=True):
        band = {axis: value | {"field": "lo"}, f"{axis}2": {"field": "hi"}, "color": _COLOUR}
        yield _layer("baseline", {"type": "rect", "opacity": 0.13}, band)
    rule = {axis: value, "color": _COLOUR, "strokeDash": _DASH, "tooltip": _TOOLTIP}
    yield _layer("baseline", {"type": "rule", "strokeWidth": 1.6, "cursor": "pointer"}, rule)


def _dots(panel: Panel, kind: Kind, mark: Spec, x: Spec, y: Spec) -> Iterator[Spec]:
    if _has(panel, kind):
        encoding = {"x": x, "y": y, "color": _COLOUR, "shape": _SIGN, "tooltip": _TOOLTIP}
        yield _layer(kind, {"type": "point", "opacity": 1, "cursor": "pointer"} | mark, encoding)


def _layer(kind: str, mark: Spec, encoding: Spec) -> Spec:
    return {"mark": mark, "transform": [{"filter": f"datum.k == '{kind}'"}], "encoding": encoding}


def _has(panel: Panel, kind: Kind, intervals: bool = False) -> bool:
    marks = [mark for series in panel.series if series.kind == kind for mark in series.marks]
    return any(mark.low is not None for mark in marks) if intervals else bool(marks)


# --- v1 Figure 4 ---


def _rung(panel: Panel, domain: list[float], is_last: bool) -> Spec:
    axis: Spec = {"title": "error, %"} if is_last else {"labels": False, "ticks": False, "title": None}
    value: Spec = {"field": "y", "type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": axis}
    at: Spec = {"field": "x", "type": "quantitative", "title": panel.title, "scale": {"domain": panel.reach(margin=1)}}
    at["axis"] = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": _RUNG_HEIGHT / 2}
    at["axis"] |= {"labels": False, "ticks": False, "grid": False, "domain": False}
    layers = [*_baselines(panel, value, "x")]
    if _has(panel, "line"):
        line = {"x": value, "y": at, "color": _COLOUR, "detail": {"field": "g"}, "order": {"field": "x"}}
        layers.append(_layer("line", {"type": "line", "strokeWidth": 1}, line))
        layers += _dots(panel, "line", {"filled": True, "size": 14}, value, at)
        chosen = next(_dots(panel, "line", {"filled": True, "size": 60}, value, at))
        layers.append(chosen | {"transform": [{"filter": "datum.k == 'line' && datum.c"}]})
    if _has(panel, "published_line"):
        rule = {"x": value, "color": _COLOUR, "strokeDash": _DASH, "tooltip": _TOOLTIP}
        layers.append(_layer("published_line", {"type": "rule", "strokeWidth": 1.4}, rule))
        layers += _dots(panel, "published_line", {"size": 60, "strokeWidth": 1.2}, value, at)
    layers += _dots(panel, "published", {"size": 90, "strokeWidth": 1.2}, value, at)
    return {"width": _RUNG_WIDTH, "height": _RUNG_HEIGHT, "layer": layers}


# --- claims ---


def _forest_domain(figure: Figure) -> list[float]:
    """Return the ends of the common axis: every interval, every margin and 0, with some room."""
    marks = [mark for panel in figure.panels for series in panel.series for mark in series.marks]
    ends = [0.0, *(end for mark in marks for end in (mark.value, mark.low, mark.high) if end is not None)]
    room = 0.04 * (max(ends) - min(ends) or 1.0)
    return [min(ends) - room, max(ends) + room]


def _branch(panel: Panel, domain: list[float], is_last: bool) -> Spec:
    axis: Spec = {"title": panel.at} if is_last else {"labels": False, "ticks": False, "title": None}
    value: Spec = {"field": "y", "type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": axis}
    at: Spec = {"field": "x", "type": "quantitative", "title": panel.title.split("\n"), "scale": {"domain": [-1, 1]}}
    at["axis"] = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": _BRANCH_HEIGHT / 2 - 6}
    at["axis"] |= {"labels": False, "ticks": False, "grid": False, "domain": False}
    zero = {name: entry for name, entry in value.items() if name != "field"} | {"datum": 0}
    bar = {"x": value | {"field": "lo"}, "x2": {"field": "hi"}, "y": at, "color": _COLOUR}
    layers = [
        {"mark": {"type": "rule", "color": style.GREY, "strokeWidth": 0.8}, "encoding": {"x": zero}},
        *_baselines(panel, value, "x"),
        _layer("line", {"type": "rule", "strokeWidth": 2}, bar),
        *_dots(panel, "line", {"filled": True, "size": 80}, value, at),
    ]
    return {"width": _RUNG_WIDTH, "height": _BRANCH_HEIGHT, "layer": layers}
