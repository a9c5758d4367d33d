"""The tables of the page: heads, and cells with their sort keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cebctl.report import number_format
from cebctl.report.cells import Cell, Missing, Report, Row, Table


@dataclass(frozen=True)
class Head:
    lines: tuple[str, ...]
    stub: bool = False


@dataclass(frozen=True)
class PageCell:
    """One cell; `sort` is a number, a text, or empty for a missing number, which always comes last."""

    text: str
    sort: str = ""
    stub: bool = False
    link: str = ""
    """The run that a click opens."""
    interval: str = ""
    paper: str = ""
    missing: bool = False
    why: str = ""
    """The text of the tooltip: why the number is missing, or its seeds and the states of the others."""
    best: bool = False


@dataclass(frozen=True)
class PageTable:
    number: int
    """The number of its link, from 1."""
    supplement: bool
    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[PageCell, ...], ...]
    hint: str
    """An example of a filter."""


def page_tables(report: Report) -> list[PageTable]:
    """Return the tables of a report, models across where the papers have them so."""
    return [
        _across(report, table, number) if table.heads else _down(report, table, number)
        for number, table in enumerate(report.tables, 1)
    ]


def _down(report: Report, table: Table, number: int) -> PageTable:
    axes = list(dict.fromkeys(key for row in table.rows for key in row.axes))
    starred = {selected_rho.run_ids for selected_rho in report.selected.values()}
    heads = [Head((name,), stub=True) for name in axes]
    with_seeds = number_format.has_seeds(table)
    heads += [Head(("seeds",), stub=True)] * with_seeds
    heads += [Head(tuple(number_format.column_heading(table, name).split("\n"))) for name in table.columns]
    rows = []
    for row in table.rows:
        stubs = [_axis(row, name, row.run_ids in starred) for name in axes]
        stubs += [PageCell(number_format.row_seeds(row), str(row.seeds), stub=True)] * with_seeds
        rows.append((*stubs, *(_cell(row.cells[name], row, report.is_mixed) for name in table.columns)))
    first = table.rows[0].axes
    hint = f"objective={first['objective']}"
    return PageTable(number, table.supplement, table.name, tuple(heads), tuple(rows), hint)


def _axis(row: Row, name: str, starred: bool) -> PageCell:
    value: Any = row.axes.get(name)
    link = row.run_ids[0] if row.run_ids else ""
    text = number_format.row_axis_value(row, name, starred)
    return PageCell(text, "" if value is None else str(value), stub=True, link=link)


def _across(report: Report, table: Table, number: int) -> PageTable:
    heads = [
        Head(("", *table.heads, *["seeds"] * number_format.has_seeds(table)), stub=True),
        *(Head((*row.heads, *[number_format.row_seeds(row)] * number_format.has_seeds(table))) for row in table.rows),
    ]
    rows = [
        (
            PageCell(label := table.labels.get(name, name), label, stub=True),
            *(_cell(row.cells[name], row, report.is_mixed) for row in table.rows),
        )
        for name in table.columns
    ]
    return PageTable(number, table.supplement, table.name, tuple(heads), tuple(rows), "noise")


def _cell(cell: Cell | Missing, row: Row, is_mixed: bool) -> PageCell:
    paper = f"paper {cell.published_text}" if cell.published_text else ""
    if isinstance(cell, Missing):
        return PageCell(number_format.short_reason(cell), paper=paper, missing=True, why=cell.reason)
    fewer = f" ({number_format.seed_count(cell.seeds, cell.seeds_asked)})" if cell.seeds < row.seeds else ""
    counted = number_format.seed_count(cell.seeds, cell.seeds_asked)
    over = f", 95% interval over {cell.interval_over}" if cell.interval_over else ""
    return PageCell(
        f"{number_format.cell_value(cell)}{number_format.version_marks(cell)}",
        repr(cell.value),
        interval=number_format.cell_interval(cell, is_mixed) + fewer,
        paper=paper + number_format.cell_difference(cell, ", ") if paper else "",
        why=": ".join(filter(None, (counted + over, number_format.absent_seeds(cell)))),
        best=cell.best,
    )
