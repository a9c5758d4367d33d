"""Figures as files: PNG, SVG and PDF of each, from the same chart that the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cebctl.report.figures import vega
from cebctl.report.figures.marks import Figure
from cebctl.text_output import visible_strings
from experiments.atomic_files import replacing

FORMATS = ("png", "svg", "pdf")
_PDF_SCALE = 0.57
"""Text of 14 pixels has 8 points, and a figure of one panel is 6 inches wide."""
_AXIS_WIDTH, _SIGN_WIDTH, _LETTER_WIDTH = 75, 60, 7
_PRINT: dict[str, Any] = {
    # vl-convert brings the first font along, so that text is the same on a machine without fonts.
    "font": "Liberation Sans, Arial, sans-serif",
    "background": "white",
    "padding": 8,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 14, "titleFontSize": 14, "titleFontWeight": "normal", "gridOpacity": 0.6, "tickCount": 7},
    "legend": {"labelFontSize": 13},
    "title": {"fontSize": 15, "fontWeight": "normal"},
}


def save(figures: Iterable[Figure], folder: Path) -> list[Path]:
    """Write every figure in every format and return the files; the same numbers give the same bytes."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure in figures:
        chart = visible_strings(vega.chart(figure, for_page=False))
        legend = _PRINT["legend"] | {"columns": _legend_columns(figure, chart)}
        svg = vl_convert.vegalite_to_svg(chart, config=_PRINT | {"legend": legend})
        contents = (vl_convert.svg_to_png(svg, scale=2), svg.encode(), _pdf(svg))
        for format, content in zip(FORMATS, contents, strict=True):
            files.append(folder / f"{figure.name}.{format}")
            with replacing(files[-1]) as partial:
                partial.write_bytes(content)
    return files


def _pdf(svg: str) -> bytes:
    import vl_convert

    scaled = re.sub(
        r'width="([\d.]+)" height="([\d.]+)"',
        lambda size: 'width="{:g}" height="{:g}"'.format(*(float(pixels) * _PDF_SCALE for pixels in size.groups())),
        svg,
        count=1,
    )
    pdf = vl_convert.svg_to_pdf(scaled)
    # vl-convert lists the resources of a page in the order of a hash map, another one each time.
    return re.sub(rb"(?m)(?:^ {6}/\w+ \d+ 0 R\n)+", lambda lines: b"".join(sorted(lines[0].splitlines(True))), pdf)


def _legend_columns(figure: Figure, chart: vega.Spec) -> int:
    """Return how many entries of the legend fit beside each other below the panels."""
    width = min(chart["columns"], len(chart["concat"])) * (chart["concat"][0]["width"] + _AXIS_WIDTH)
    longest = max((len(series.name) for panel in figure.panels for series in panel.series), default=0)
    return max(1, int(width / (longest * _LETTER_WIDTH + _SIGN_WIDTH)))
