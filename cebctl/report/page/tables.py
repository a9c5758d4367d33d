"""Tables as the page shows them: heads, and cells with what they are sorted by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cebctl.report import words
from cebctl.report.cells import Cell, Missing, Report, Row, Table


@dataclass(frozen=True)
class Head:
    lines: tuple[str, ...]
    stub: bool = False


@dataclass(frozen=True)
class PageCell:
    """One cell; `sort` is a number, a text, or empty for what is missing and always comes last."""

    text: str
    sort: str = ""
    stub: bool = False
    link: str = ""
    """The run that it opens."""
    interval: str = ""
    paper: str = ""
    missing: bool = False
    why: str = ""
    best: bool = False


@dataclass(frozen=True)
class PageTable:
    number: int
    """From 1, by which it is linked to."""
    supplement: bool
    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[PageCell, ...], ...]
    hint: str
    """What a filter may say."""


def page_tables(report: Report) -> list[PageTable]:
    """The tables of a report, models across where the papers have them so."""
    return [
        _across(table, number) if table.heads else _down(report, table, number)
        for number, table in enumerate(report.tables, 1)
    ]


def _down(report: Report, table: Table, number: int) -> PageTable:
    axes = list(dict.fromkeys(key for row in table.rows for key in row.axes))
    starred = {one.run_ids for one in report.selected.values()}
    heads = [Head((name,), stub=True) for name in axes]
    heads += [Head(tuple(words.heading(table, name).split("\n"))) for name in table.columns]
    rows = []
    for row in table.rows:
        stubs = [_axis(row, name, row.run_ids in starred) for name in axes]
        rows.append((*stubs, *(_cell(row.cells[name]) for name in table.columns)))
    first = table.rows[0].axes
    hint = f"objective={first['objective']}"
    return PageTable(number, table.supplement, table.name, tuple(heads), tuple(rows), hint)


def _axis(row: Row, name: str, starred: bool) -> PageCell:
    value: Any = row.axes.get(name)
    link = row.run_ids[0] if row.run_ids else ""
    text = words.row_axis(row, name, starred)
    return PageCell(text, "" if value is None else str(value), stub=True, link=link)


def _across(table: Table, number: int) -> PageTable:
    heads = [Head(("", *table.heads), stub=True), *(Head(tuple(row.heads)) for row in table.rows)]
    rows = [
        (
            PageCell(label := table.labels.get(name, name), label, stub=True),
            *(_cell(row.cells[name]) for row in table.rows),
        )
        for name in table.columns
    ]
    return PageTable(number, table.supplement, table.name, tuple(heads), tuple(rows), "noise")


def _cell(found: Cell | Missing) -> PageCell:
    paper = f"paper {found.published_text}" if found.published_text else ""
    if isinstance(found, Missing):
        return PageCell(words.reason(found), paper=paper, missing=True, why=found.reason)
    return PageCell(
        f"{words.value(found)}{words.marks(found)}",
        repr(found.value),
        interval=words.interval(found),
        paper=paper + words.difference(found, ", ") if paper else "",
        best=found.best,
    )
