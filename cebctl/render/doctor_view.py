"""`cebctl doctor`: what was found, then what is to be done."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from cebctl.diagnostics.findings import Finding, next_steps
from cebctl.render.console import print_table, progress_console, result_console
from store.ingest import Ingested

_STYLE = {"ok": "green", "note": "yellow", "wrong": "red"}


def show(found: Sequence[Finding]) -> None:
    """A line for each finding, and the list of things to do."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("area", "level"):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        table.add_row(finding.area, f"[{_STYLE[finding.level]}]{finding.level}[/]", escape(finding.text))
    console = result_console()
    print_table(console, table, label=2)
    things = next_steps(found)
    console.print("\nTo do:" if things else "\nNothing to do.")
    for number, thing in enumerate(things, 1):
        console.print(f"{number}. {thing}", markup=False)


def rebuilt(read: Ingested) -> None:
    """Say that the store was rebuilt."""
    progress_console().print(f"rebuilt from {read.files} journals, {read.records:,} records")
