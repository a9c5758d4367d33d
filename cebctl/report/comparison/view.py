"""The comparison of two runs, or of the seeds of two, on the same images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from cebctl.render.console import fit_columns, print_table, result_console
from cebctl.report.comparison.paired_tests import Comparison, estimate_detection


def comparison_json(
    a: str, b: str, comparisons: Sequence[Comparison], points: float | None = None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the comparisons for JSON: fractions, as in a report, and `detect` if `points` are to be detected."""
    compared = [_json(comparison, points) for comparison in comparisons]
    return {"a": a, "b": b, "comparisons": compared, "notes": list(notes)}


def _json(comparison: Comparison, points: float | None) -> dict[str, Any]:
    plain = {
        field.name: getattr(comparison, field.name)
        for field in dataclasses.fields(comparison)
        if field.name != "spread"
    }
    variance = {
        "seeds": float(sum(comparison.spread.seeds)) if comparison.is_over_seeds else None,
        "images": float(comparison.spread.images),
        "interaction": float(comparison.spread.interaction) if comparison.is_over_seeds else None,
    }
    over = ["seeds", "images"] if comparison.is_over_seeds else ["images"]
    record = plain | {"difference": comparison.difference, "over": over, "variance": variance}
    if points is not None:
        detected = estimate_detection(comparison, points)
        record["detect"] = {"points": points, "seeds": None} if detected is None else dataclasses.asdict(detected)
    return record


def print_comparison(
    a: str, b: str, comparisons: Sequence[Comparison], points: float | None = None, notes: Sequence[str] = ()
) -> None:
    """Print a line for each benchmark, accuracies in percent and the difference in points, with the notes below."""
    console = result_console()
    first = comparisons[0]
    seeds = [f" ({count} seed{'s' * (count > 1)})" for count in (first.seeds_a, first.seeds_b)]
    console.print(escape(f"A: {a}{seeds[0]}\nB: {b}{seeds[1]}"))
    several = len(comparisons) > 1
    interval, p = ("A - B [95%, all at once]", "p (Holm)") if several else ("A - B [95%]", "p")
    names = ("benchmark", "n", "A %", "B %", interval, "A only", "B only", p)
    heads, rows = fit_columns(
        names, [_row(comparison) for comparison in comparisons], ("B only", "A only", "n"), {"benchmark": 16}
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in heads:
        left = name == "benchmark"  # long names break, numbers never do
        table.add_column(escape(name), justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(console, table)
    for note in (*_notes(comparisons), *notes):
        console.print(escape(note), style="dim")
    for line in _detections(comparisons, points) if points is not None else ():
        console.print(escape(line))


def _row(comparison: Comparison) -> tuple[str, ...]:
    points = [
        f"{100 * value:+.1f}" for value in (comparison.difference, comparison.low_corrected, comparison.high_corrected)
    ]
    accuracies = (f"{100 * accuracy:.1f}" for accuracy in (comparison.accuracy_a, comparison.accuracy_b))
    only = (f"{comparison.a_only:,}", f"{comparison.b_only:,}")
    interval = f"{points[0]} [{points[1]}, {points[2]}]"
    return comparison.benchmark, f"{comparison.n:,}", *accuracies, interval, *only, _p(comparison.p_corrected)


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "<0.0001"


def _notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield notes on the intervals: seeds or images, too few seeds, the correction."""
    first, at_once = comparisons[0], len(comparisons)
    fewest = min(first.seeds_a, first.seeds_b)
    if not first.is_over_seeds:
        single = "each side has one seed" if first.seeds_a == first.seeds_b else "one side has one seed"
        yield (
            f"Same images; {single}: intervals and p are over images only (adjusted paired interval, Bonett & Price "
            "2012). This says nothing about training again: another seed may turn the difference round."
        )
    else:
        how = "the same seeds on both sides, in pairs" if first.paired else "seeds of either side independent"
        yield f"Same images; {how}: intervals and p are over seeds and images (Satterthwaite 1946, Banerjee 1961)."
    if fewest == 2:
        yield (
            "Two seeds tell next to nothing of the spread over training (Student's t is up to 12.7): a third on each "
            "side narrows these intervals most."
        )
    if at_once > 1:
        yield (
            f"{at_once} comparisons at once: p by Holm; intervals by Bonferroni, each of {1 - 0.05 / at_once:.2%}, so "
            "that all hold together with 95%. Holm's p can be below 0.05 where the interval just holds 0. Each by "
            "itself: --json."
        )


def _detections(comparisons: Sequence[Comparison], points: float) -> Iterator[str]:
    """Yield the seeds that a difference of so many points would need, a line for each benchmark."""
    first = comparisons[0]
    if not first.is_over_seeds:
        yield f"To detect {points:g} points: unknown, since one seed shows no spread over training; run several."
        return
    level = "5%" if first.at_once == 1 else f"5% / {first.at_once}"
    yield (
        f"To detect {points:g} points with power 80% at the two-sided level {level}, by the variances seen "
        f"(from {first.seeds_a} and {first.seeds_b} seeds, so roughly):"
    )
    for comparison in comparisons:
        if (needed := estimate_detection(comparison, points)) is None:
            continue
        if needed.seeds is None:
            seeds = f"no number of seeds: {comparison.n:,} images show {needed.least * 100:.1f} points at best"
        else:
            seeds = f"{needed.seeds:,} seeds on each side"
        variances = float(sum(comparison.spread.seeds)), float(comparison.spread.images)
        by_seeds, by_images = (math.sqrt(variance) * 100 for variance in variances)
        yield (
            f"  {comparison.benchmark}: {seeds}; "
            f"standard error {by_seeds:.2f} points by seeds, {by_images:.2f} by images"
        )
