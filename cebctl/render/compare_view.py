"""The comparison of two runs, or of the seeds of two, on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from cebctl.render.console import fitting, out, print_table
from cebctl.report.compare import Comparison


def to_json(a: str, b: str, found: Sequence[Comparison]) -> dict[str, Any]:
    """Fractions, as in a report."""
    rows = [{**dataclasses.asdict(one), "difference": one.difference} for one in found]
    return {"a": a, "b": b, "comparisons": rows}


def show(a: str, b: str, found: Sequence[Comparison]) -> None:
    """A line per benchmark: accuracies in percent, the difference in points."""
    console = out()
    seeds = [f" ({count} seeds)" if count > 1 else "" for count in (found[0].seeds_a, found[0].seeds_b)]
    console.print(escape(f"A: {a}{seeds[0]}\nB: {b}{seeds[1]}"))
    names = ("benchmark", "n", "A %", "B %", "A - B [95%]", "A only", "B only", "p")
    heads, rows = fitting(names, [_row(one) for one in found], ("B only", "A only", "n"), {"benchmark": 16})
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in heads:
        first = name == "benchmark"  # long names break, numbers never do
        table.add_column(escape(name), justify="left" if first else "right", no_wrap=not first, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(console, table)
    test = "McNemar's exact test" if found[0].seeds_a == found[0].seeds_b == 1 else "sign-flip randomisation test"
    console.print(f"[dim]Same images: {test}, paired bootstrap; over images, not over training runs.[/]")


def _row(one: Comparison) -> tuple[str, ...]:
    difference = f"{one.difference * 100:+.1f} [{one.low * 100:+.1f}, {one.high * 100:+.1f}]"
    accuracies = (f"{accuracy * 100:.1f}" for accuracy in (one.accuracy_a, one.accuracy_b))
    return (one.benchmark, f"{one.n:,}", *accuracies, difference, str(one.a_only), str(one.b_only), f"{one.p:.2g}")
