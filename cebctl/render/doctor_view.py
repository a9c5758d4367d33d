"""The output of `cebctl doctor`: the findings, then the steps that they call for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from cebctl.diagnostics.findings import Finding, next_steps
from cebctl.render.console import print_table, progress_console, result_console
from store.ingest import Ingested

_LEVEL_STYLES = {"ok": "green", "note": "yellow", "wrong": "red"}


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each finding, then the numbered steps."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in ("area", "level"):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(finding.area, f"[{_LEVEL_STYLES[finding.level]}]{finding.level}[/]", escape(finding.text))
    console = result_console()
    print_table(console, table, label=2)
    steps = next_steps(findings)
    console.print("\nTo do:" if steps else "\nNothing to do.")
    for number, step in enumerate(steps, 1):
        console.print(f"{number}. {step}", markup=False)


def print_rebuilt(ingested: Ingested) -> None:
    """Say that the store was rebuilt."""
    progress_console().print(f"rebuilt from {ingested.files} journals, {ingested.records:,} records")
