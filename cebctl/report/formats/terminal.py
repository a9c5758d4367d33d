"""A report on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table as RichTable

from cebctl.render.console import print_table, result_console
from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.claims.view import claims_grids, sentences
from cebctl.report.formats import text_grid
from cebctl.report.formats.text_grid import GAP, Grid, GridCell, GridColumn


def write(report: Report) -> None:
    """Print every table in parts that fit the width, then the footnotes and the missing numbers."""
    console = result_console()
    grids = [text_grid.build_grid(report, table) for table in text_grid.printed_tables(report)]
    for grid in (*grids, *claims_grids(report.claims)):
        console.print(escape(grid.title), style="bold")
        for part in grid.parts(console.width):
            print_table(console, _part(grid, part), label=len(grid.stub))
            console.print()
    for line in sentences(report.claims):
        console.print(escape(line))
    for note in (*report.notes, text_grid.omission_note(report)):
        if note:
            console.print(escape(note), style="dim")
    for line in number_format.missing_lines(report):
        console.print(escape(line), style="yellow")


def _part(grid: Grid, part: tuple[GridColumn, ...]) -> RichTable:
    table = RichTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    strips = [*grid.stub, *part]
    for strip in strips:
        heads = "\n".join(head or " " for head in strip.heads)
        table.add_column(escape(heads), justify="left" if strip.left else "right", no_wrap=True)
    for cells in zip(*(strip.cells for strip in strips), strict=True):
        table.add_row(*map(_styled, cells))
    return table


def _styled(cell: GridCell) -> str:
    if cell.text == number_format.NONE:
        return f"[dim]{cell.text}[/]"
    return f"[bold]{escape(cell.text)}[/]" if cell.bold else escape(cell.text)
