"""Figures of the runs themselves: training curves, the information plane, reliability."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from cebctl.report.cells import Cell, Row
from cebctl.report.figures.marks import Figure, Mark, Panel, Series
from cebctl.report.figures.series import cell_mark, family_styles, group_by_family, short_name
from cebctl.report.intervals import wilson
from cebctl.report.measurements import Results
from experiments import datasets
from experiments.benchmarks import Calibration
from experiments.matrix.planned_run import Matrix
from store.row_types import MetricPoint, ResultRow

Curves = Mapping[str, Sequence[MetricPoint]]
"""The metrics of each run, by run_id."""

PANEL_METRICS = ("loss", "train_accuracy", "rate", "residual_information", "conditional_entropy", "lr")
"""The metrics with a panel, in order; `cebctl export` has all."""
_LOG = ("rate", "residual_information", "lr")
_UNITS = {"train_accuracy": "%", "lr": ""}


def training_curves(matrix: Matrix, rows: Sequence[Row], curves: Curves) -> Iterator[Figure]:
    """Yield every metric of `PANEL_METRICS` over epochs, a line for each run."""
    panels = [panel for name in PANEL_METRICS if (panel := _metric(name, rows, curves)).series]
    if panels:
        caption = (
            f"{matrix.title}: training, one line for each run and what it extends, one colour for each family; means "
            "over an epoch."
        )
        yield Figure("training", "Training curves", caption, tuple(panels))


def _metric(name: str, rows: Sequence[Row], curves: Curves) -> Panel:
    series = []
    styles = family_styles(rows)
    for family, members in group_by_family(rows).items():
        label = short_name(members[0], ("rho",))
        for row in members:
            for run_id in row.run_ids:
                marks = curve_marks(name, run_id, short_name(row), curves.get(run_id, ()))
                if marks:
                    series.append(Series(label, "line", styles[family], marks, styles[family]))
    unit = _UNITS.get(name, "nats")
    positive = all(mark.value > 0 for line in series for mark in line.marks)
    return Panel(name.replace("_", " "), "epoch", unit, tuple(series), log=name in _LOG and positive)


def curve_marks(name: str, run_id: str, label: str, points: Sequence[MetricPoint]) -> tuple[Mark, ...]:
    """Return the finite points of one metric of one run, accuracies in percent."""
    factor = 100.0 if _UNITS.get(name) == "%" else 1.0
    return tuple(
        Mark(point.epoch, point.value * factor, run_id=run_id, label=label)
        for point in points
        if point.name == name and point.stage == "train" and point.value is not None
    )


def information_plane(matrix: Matrix, rows: Sequence[Row]) -> Iterator[Figure]:
    """Yield the information of z about the image against that about the class, both as bounds on the test images.

    I(Y;Z) >= H(Y) - H(Y|Z) with H(Y) = ln K, and I(X;Z) <= R. At the Minimum Necessary Information point both are H(Y)
    (v1 section 3.1).
    """
    entropies = {math.log(datasets.info(run.run.data.name).classes) for run in matrix.runs}
    if len(entropies) != 1:
        return
    (class_entropy,) = entropies
    styles, series = family_styles(rows), []
    for family, members in group_by_family(rows).items():
        marks = [plane_mark for row in members if (plane_mark := _in_plane(row, class_entropy))]
        if marks:
            series.append(
                Series(short_name(members[0], ("rho",)), "line", styles[family], tuple(marks), styles[family])
            )
    if series:
        minimum = Mark(class_entropy, class_entropy, label=f"Minimum Necessary Information: {class_entropy:.2f} nats")
        series.append(Series("Minimum Necessary Information", "reference", len(styles), (minimum,)))
        caption = (
            f"{matrix.title}: an upper bound of I(X;Z), the rate, against a lower bound of I(Y;Z), ln K - H(Y|Z), in "
            "nats on the test images; one mark for each ρ. The cross is the Minimum Necessary Information point."
        )
        panel = Panel("", "I(X;Z) ≤ rate, nats", "I(Y;Z) ≥ ln K - H(Y|Z), nats", tuple(series))
        yield Figure("information-plane", "The information plane", caption, (panel,))


def _in_plane(row: Row, class_entropy: float) -> Mark | None:
    rate, entropy = row.cells.get("rate"), row.cells.get("conditional_entropy")
    if not isinstance(rate, Cell) or not isinstance(entropy, Cell):
        return None
    mark, information = cell_mark(row, entropy, rate.value), class_entropy - entropy.value
    return replace(mark, value=information, low=class_entropy - entropy.high, high=class_entropy - entropy.low)


def reliability(
    matrix: Matrix, rows: Sequence[Row], results: Results, selected: Collection[tuple[str, ...]]
) -> Iterator[Figure]:
    """Yield accuracy over confidence, bin by bin (Guo et al., 2017), where a calibration benchmark kept its bins.

    Of a family only the `selected` row, at rho*, if it has one: twenty such lines can't be told apart.
    """
    bins: dict[str, dict[str, ResultRow]] = defaultdict(dict)
    for (run_id, _, name), result in results.items():
        if isinstance(result.benchmark, Calibration) and name.startswith("bin_"):
            bins[run_id][name] = result
    styles, series = family_styles(rows), []
    for family, members in group_by_family(rows).items():
        chosen = [row for row in members if row.run_ids in selected] or members
        for row in chosen:
            for run_id in row.run_ids:
                marks = _reliability_marks(bins[run_id], run_id, short_name(row))
                if marks:
                    series.append(Series(short_name(row), "line", styles[family], marks, styles[family]))
    if series:
        caption = (
            f"{matrix.title}: accuracy over mean confidence in each bin with its 95% interval (Wilson); on the "
            "diagonal confidence is right. Of each family the run at ρ*."
        )
        panel = Panel("", "confidence, %", "accuracy, %", tuple(series), diagonal=True)
        yield Figure("reliability", "Reliability", caption, (panel,))


def _reliability_marks(bins: Mapping[str, ResultRow], run_id: str, label: str) -> tuple[Mark, ...]:
    """Return the marks in order of confidence, as the bins are numbered; percent."""
    marks = []
    for name, accuracy in sorted(bins.items()):
        confidence = bins.get(name.replace("_accuracy", "_confidence"))
        if name.endswith("_accuracy") and confidence and confidence.value is not None and accuracy.value is not None:
            low, high = wilson(round(accuracy.value * accuracy.total), accuracy.total)
            marks.append(Mark(confidence.value * 100, accuracy.value * 100, low * 100, high * 100, run_id, label))
    return tuple(marks)
