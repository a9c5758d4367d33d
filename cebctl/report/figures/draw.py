"""Figures as files, by matplotlib: PNG, SVG and PDF of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cebctl.report.figures import style
from cebctl.report.figures.marks import Figure, Mark, Panel, Series
from experiments.atomic_files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FORMATS = ("png", "svg", "pdf")
_RC: dict[Any, Any] = {
    "font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "legend.frameon": False, "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "cebctl",
}  # fmt: skip
_ACROSS = 3
"""Panels beside each other."""


def save(figures: Iterable[Figure], folder: Path) -> list[Path]:
    """Write every figure in every format; the same numbers give the same bytes. Returns the files."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure in figures:
        with matplotlib.rc_context(_RC):
            canvas = _ladder(figure) if figure.ladder else _panels(figure)
            for format in FORMATS:
                files.append(folder / f"{figure.name}.{format}")
                dateless: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format, {})
                with replacing(files[-1]) as beside:
                    canvas.savefig(beside, dpi=200, bbox_inches="tight", metadata=dateless)
    return files


# --- panels beside each other ---


def _panels(figure: Figure) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    across = min(_ACROSS, len(figure.panels))
    if len(figure.panels) == 4:
        across = 4
    down = -(-len(figure.panels) // across)
    single = across == 1
    canvas = Canvas(figsize=(6.0 if single else 2.9 * across, (3.6 if single else 2.5) * down), layout="constrained")
    every = canvas.subplots(down, across, squeeze=False).flat
    for axes, panel in zip(every, figure.panels, strict=False):
        _panel(axes, panel)
    for axes in list(every)[len(figure.panels) :]:
        axes.remove()
    _legend(canvas, canvas.axes, _hollow(figure))
    return canvas


def _panel(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        _DRAW[series.kind](axes, series, len(panel.series) > 40)
    axes.set(title=_plain(panel.title), xlabel=_plain(panel.at), ylabel=_plain(panel.value))
    if panel.radius:
        _radius_axis(axes, panel.reach(margin=0)[1])
    if panel.log:
        axes.set_yscale("log")
    if panel.diagonal:
        axes.plot([0, 100], [0, 100], color="0.6", linewidth=0.8)


def _radius_axis(axes: Axes, end: float) -> None:
    if end > 100:
        axes.set_xscale("symlog", linthresh=100, linscale=1.2)
        axes.set_xticks([at for at in (0, 25, 50, 75, 100, 300, 1000, 3000) if at <= end], minor=False)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.axvline(100, color="0.6", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xlim(left=0)


def _line(axes: Axes, series: Series, many: bool) -> None:
    at, values = [mark.at for mark in series.marks], [mark.value for mark in series.marks]
    look: dict[str, Any] = {"color": style.colour(series.style), "label": series.name}
    if len(series.marks) > 30 or many:  # a curve of training: signs would hide it
        axes.plot(at, values, linewidth=0.8, alpha=0.5 if many else 0.8, linestyle=_dash(series.dash), **look)
        return
    sign = style.SIGNS[series.style % len(style.SIGNS)]
    axes.errorbar(
        at, values, yerr=_bars(series.marks), marker=sign, markersize=3.5, linewidth=1, capsize=1.5, elinewidth=0.7,
        linestyle=_dash(series.dash), **look
    )  # fmt: skip


def _points(axes: Axes, series: Series, many: bool) -> None:
    at, values = [mark.at for mark in series.marks], [mark.value for mark in series.marks]
    axes.errorbar(
        at, values, yerr=_bars(series.marks), marker="x", markersize=5, linestyle="none", capsize=1.5, elinewidth=0.7,
        color=style.colour(series.style), label=series.name,
    )  # fmt: skip


def _baseline(axes: Axes, series: Series, many: bool) -> None:
    for mark in series.marks:
        look: dict[str, Any] = {"color": style.colour(series.style)}
        dash = _dash(1 + series.dash % 5)  # never a line without breaks
        axes.axhline(mark.value, linewidth=1.1, linestyle=dash, label=series.name, **look)
        if mark.low is not None and mark.high is not None:
            axes.axhspan(mark.low, mark.high, alpha=0.12, linewidth=0, **look)


def _published(axes: Axes, series: Series, many: bool) -> None:
    at, values = [mark.at for mark in series.marks], [mark.value for mark in series.marks]
    sign = style.SIGNS[series.style % len(style.SIGNS)]
    axes.plot(
        at, values, linestyle="none", marker=sign, markersize=7, markerfacecolor="none", markeredgewidth=1.1,
        color=style.colour(series.style), clip_on=False,
    )  # fmt: skip


def _reference(axes: Axes, series: Series, many: bool) -> None:
    at, values = [mark.at for mark in series.marks], [mark.value for mark in series.marks]
    axes.plot(at, values, linestyle="none", marker="+", markersize=10, color="0.3", label=series.name)


_DRAW = {"line": _line, "points": _points, "baseline": _baseline, "published": _published, "reference": _reference}


def _bars(marks: Sequence[Mark]) -> list[list[float]] | None:
    if any(mark.low is None or mark.high is None for mark in marks):
        return None
    down = [max(0.0, mark.value - mark.low) for mark in marks if mark.low is not None]
    up = [max(0.0, mark.high - mark.value) for mark in marks if mark.high is not None]
    return [down, up]


def _dash(index: int) -> Any:
    dash = style.dash(index)
    return (0, dash) if dash else "-"


def _legend(canvas: Canvas, every: Sequence[Axes], hollow: bool) -> None:
    """One entry for each name, and one for all that is hollow."""
    from matplotlib.lines import Line2D

    entries: dict[str, Any] = {}
    for axes in every:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if hollow:
        hollow_mark = Line2D([], [], marker="o", markerfacecolor="none", color="0.3", linestyle="none")
        entries["hollow: published"] = hollow_mark
    widest = max((len(name) for name in entries), default=0) * 0.06 + 0.6  # inches, at 7 points
    columns = max(1, min(len(entries), int(canvas.get_figwidth() / widest)))
    canvas.set_figheight(canvas.get_figheight() + 0.17 * -(-len(entries) // columns))
    canvas.legend(
        entries.values(), [_plain(name) for name in entries], loc="outside lower center", ncols=columns, fontsize=7
    )


def _plain(text: str) -> str:
    """A name may hold a $, which would begin a formula."""
    return text.replace("$", r"\$")


def _hollow(figure: Figure) -> bool:
    return any(series.kind == "published" for panel in figure.panels for series in panel.series)


# --- v1 Figure 4 ---


def _ladder(figure: Figure) -> Canvas:
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = (7.0, max(4.0, 0.52 * len(figure.panels) + 1.2))
    canvas = Canvas(figsize=size, layout=ConstrainedLayoutEngine(hspace=0, h_pad=0.01))
    every = canvas.subplots(len(figure.panels), 1, sharex=True, squeeze=False)[:, 0]
    for index, (axes, panel) in enumerate(zip(every, figure.panels, strict=True)):
        for series in panel.series:
            _rungs(axes, series, style.ladder(series.style, index < figure.summary))
        axes.set_yticks([])
        axes.set_ylim(*panel.reach(margin=1))
        axes.set_ylabel(_plain(panel.title), rotation=0, ha="right", va="center", fontsize=8)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(index == len(every) - 1)
        axes.tick_params(bottom=index == len(every) - 1)
    every[-1].set_xlabel("error, %")
    _legend(canvas, [every[-1]], _hollow(figure))
    return canvas


def _rungs(axes: Axes, series: Series, colour: str) -> None:
    """One network: its baseline upright, or its dots from rho 1 below to rho 10 above."""
    sign = style.SIGNS[series.style % len(style.SIGNS)]
    if series.kind == "baseline":
        for mark in series.marks:
            axes.axvline(mark.value, color=colour, linewidth=1.2, linestyle=_dash(series.style), label=series.name)
            if mark.low is not None and mark.high is not None:
                axes.axvspan(mark.low, mark.high, color=colour, alpha=0.15, linewidth=0)
        return
    values, at = [mark.value for mark in series.marks], [mark.at for mark in series.marks]
    if series.kind == "published":
        axes.plot(values, at, linestyle="none", marker=sign, markersize=6.5, markerfacecolor="none",
                  markeredgewidth=0.9, color=colour, clip_on=False)  # fmt: skip
        return
    axes.errorbar(values, at, xerr=_bars(series.marks), color=colour, linewidth=0.7, elinewidth=0.6, label=series.name)
    chosen = [mark for mark in series.marks if mark.chosen]
    axes.plot(values, at, linestyle="none", marker=".", markersize=4, color=colour)
    axes.plot(
        [m.value for m in chosen], [m.at for m in chosen], linestyle="none", marker=sign, markersize=4, color=colour
    )
