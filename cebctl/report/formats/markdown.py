"""A report in Markdown: every table whole."""

from __future__ import annotations

from cebctl.report import number_format
from cebctl.report.cells import Report
from cebctl.report.claims.view import claims_grids, sentences
from cebctl.report.formats import text_grid
from cebctl.report.formats.text_grid import Grid, GridCell
from cebctl.text_output import write as write_line


def write(report: Report) -> None:
    """Print every table, then the footnotes and the missing numbers as a list."""
    for table in text_grid.printed_tables(report):
        _table(text_grid.build_grid(report, table))
    for grid in claims_grids(report.claims):
        _table(grid)
    for note in (
        *sentences(report.claims),
        *report.notes,
        text_grid.omission_note(report),
        *number_format.missing_lines(report),
    ):
        if note:
            write_line(f"- {_escaped(note)}")


def _table(grid: Grid) -> None:
    strips = [*grid.stub, *grid.strips]
    write_line(f"**{_escaped(grid.title)}**\n")
    write_line("| " + " | ".join("<br>".join(map(_escaped, filter(None, strip.heads))) for strip in strips) + " |")
    write_line("|" + " --- |" * len(strips))
    for cells in zip(*(strip.cells for strip in strips), strict=True):
        write_line("| " + " | ".join(map(_cell, cells)) + " |")
    write_line("")


def _cell(cell: GridCell) -> str:
    return f"**{_escaped(cell.text)}**" if cell.bold else _escaped(cell.text)


def _escaped(text: str) -> str:
    """Return the text with cell ends and tags escaped; a star behind a number is no markup."""
    return text.replace("|", r"\|").replace("<", "&lt;").replace("\n", " ")
