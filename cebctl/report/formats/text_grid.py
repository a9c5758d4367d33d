"""The layout of a table before any format: columns of texts under heads, the first of which stand before every part.

The columns are measures, or models in the papers' Table 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from cebctl.report import number_format
from cebctl.report.cells import Cell, Report, Table

GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True)
class GridCell:
    """One cell."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class GridColumn:
    """One column, with a line of head for each of the grid's."""

    heads: tuple[str, ...]
    cells: tuple[GridCell, ...]
    family: str = ""
    """Columns of one family are kept together where they fit."""
    left: bool = False

    @property
    def width(self) -> int:
        return max(len(text) for text in (*self.heads, *(cell.text for cell in self.cells)))


@dataclass(frozen=True)
class Grid:
    """A table as it is printed."""

    title: str
    stub: tuple[GridColumn, ...]
    """The columns that name the rows."""
    strips: tuple[GridColumn, ...]

    def parts(self, width: int) -> Iterator[tuple[GridColumn, ...]]:
        """Yield the columns in parts that fit the width beside the stub: a number is never cut."""
        room = width - sum(strip.width + GAP for strip in self.stub) + GAP
        part: list[GridColumn] = []
        # A column without a family is one by itself.
        for _, family in groupby(enumerate(self.strips), lambda strip: strip[1].family or strip[0]):
            for piece in _pieces([strip for _, strip in family], room):
                if part and (part[0].family != piece[0].family or _width([*part, *piece]) > room):
                    yield tuple(part)
                    part = []
                part += piece
        yield tuple(part)


def build_grid(report: Report, table: Table) -> Grid:
    """Return the layout of a report's table."""
    return _models_across(report, table) if table.heads else _rows_down(report, table)


def printed_tables(report: Report) -> list[Table]:
    """Return the tables for paper or a terminal."""
    return [table for table in report.tables if not table.supplement]


def omission_note(report: Report) -> str:
    """Return a note on the tables that are not printed; '' if there are none."""
    hidden = any(table.supplement for table in report.tables)
    return "Every measure of every run: --format csv, --format json or --html FILE." if hidden else ""


def _rows_down(report: Report, table: Table) -> Grid:
    names = list(dict.fromkeys(key for row in table.rows for key in row.axes))
    starred = {chosen.run_ids for chosen in report.selected.values()}
    stub = [
        GridColumn(
            (name, ""),
            tuple(GridCell(number_format.row_axis_value(row, name, row.run_ids in starred)) for row in table.rows),
        )
        for name in names
    ]
    if number_format.has_seeds(table):
        stub.append(GridColumn(("seeds", ""), tuple(GridCell(number_format.row_seeds(row)) for row in table.rows)))
    strips = []
    for name in table.columns:
        first, _, second = number_format.column_heading(table, name).partition("\n")
        cells = tuple(
            GridCell(number_format.format_cell(row.cells[name], row.seeds, report.is_mixed)) for row in table.rows
        )
        strips.append(GridColumn((first, second), cells))
    return Grid(table.name, tuple(stub), tuple(strips))


def _models_across(report: Report, table: Table) -> Grid:
    counts = {name: number_format.image_count(table, name) for name in table.columns}
    # The number that most measures share stands in the head: a column of its own would take the place of a model.
    (common, _), *_ = Counter(filter(None, counts.values())).most_common(1) or [("", 0)]
    others = {name: f" n={count}" * (count not in ("", common)) for name, count in counts.items()}
    labels = tuple(GridCell(table.labels.get(name, name) + others[name]) for name in table.columns)
    stub = GridColumn((*table.heads, f"n={common}" * bool(common)), labels, left=True)
    strips = []
    for row in table.rows:
        row_cells = [row.cells[name] for name in table.columns]
        cells = tuple(
            GridCell(
                number_format.format_narrow_cell(cell, row.seeds, report.is_mixed), isinstance(cell, Cell) and cell.best
            )
            for cell in row_cells
        )
        family = row.heads[0] if len(row.heads) > 2 else str(row.axes["architecture"])
        heads = ", ".join(filter(None, ["ours", number_format.row_seeds(row) * number_format.has_seeds(table)]))
        strips.append(GridColumn((*row.heads, f"{heads} [95%] paper diff."), cells, family))
    return Grid(table.name, (stub,), tuple(strips))


def _pieces(family: Sequence[GridColumn], room: int) -> Iterator[list[GridColumn]]:
    piece: list[GridColumn] = []
    for strip in family:
        if piece and _width([*piece, strip]) > room:
            yield piece
            piece = []
        piece.append(strip)
    yield piece


def _width(strips: Sequence[GridColumn]) -> int:
    return sum(strip.width + GAP for strip in strips)
