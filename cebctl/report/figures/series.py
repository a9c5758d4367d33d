"""The marks and series of a report's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cebctl.report import number_format
from cebctl.report.cells import Cell, Row
from cebctl.report.figures.marks import Mark, Series
from cebctl.report.selection import family_name
from experiments.matrix.planned_run import format_value


def short_name(row: Row, without: tuple[str, ...] = ()) -> str:
    """Return `ceb ρ=3 adversary=pgd`, a row's name without values of `none`, with § if it is off its target rho."""
    parts = [format_value(row.axes["objective"])]
    for key, value in row.axes.items():
        if key not in ("objective", *without) and value != "none":
            parts.append(f"{'ρ' if key == 'rho' else key.rpartition('.')[2]}={format_value(value)}")
    return " ".join([*parts, *([number_format.OFF_TARGET] if row.last_rho else [])])


def cell_mark(row: Row, cell: Cell, at: float, chosen: bool = False) -> Mark:
    """Return a cell as a mark, in percent or nats."""
    factor, _ = number_format.scale(cell.measure)
    run_id = row.run_ids[0] if len(row.run_ids) == 1 else ""
    low, high = cell.low * factor, cell.high * factor
    fewer = f", {number_format.seed_count(cell.seeds, cell.seeds_asked)}" if cell.absent else ""
    return Mark(at, cell.value * factor, low, high, run_id, short_name(row) + fewer, chosen)


def published_mark(cell: Cell, at: float, label: str) -> Mark | None:
    """Return the published number of a cell as a mark."""
    factor, _ = number_format.scale(cell.measure)
    if cell.published is None:
        return None
    return Mark(at, cell.published * factor, label=f"{label}, published")


def group_by_family(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows by family: those that differ in rho only; rows off their target are a family of their own."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(family_name(row.axes) + number_format.OFF_TARGET * bool(row.last_rho), []).append(row)
    return families


def series_over_rho(rows: Sequence[Row], column: str, styles: dict[str, int]) -> Iterator[Series]:
    """Yield a line for each family, a baseline for each run without rho, and the published numbers of both."""
    rhos = [row.axes["rho"] for row in rows if "rho" in row.axes]
    edge = max(rhos, default=0.0)
    order = list(group_by_family(rows))
    for name, members in group_by_family(rows).items():
        cells = [(row, cell) for row in members if isinstance(cell := row.cells.get(column), Cell)]
        if not cells:
            continue
        swept = "rho" in cells[0][0].axes
        marks = sorted((cell_mark(row, cell, row.axes.get("rho", edge)) for row, cell in cells), key=lambda m: m.at)
        label, dash = short_name(cells[0][0], ("rho",)), order.index(name)
        yield Series(label, "line" if swept else "baseline", styles[name], tuple(marks), dash)
        printed = [published_mark(cell, row.axes.get("rho", edge), short_name(row)) for row, cell in cells]
        if any(printed):
            yield Series(label, "published", styles[name], tuple(filter(None, printed)))


def family_styles(rows: Sequence[Row]) -> dict[str, int]:
    """Return a style for each family, the same in every panel."""
    return {name: index for index, name in enumerate(group_by_family(rows))}


def column_unit(rows: Sequence[Row], column: str) -> str:
    """Return the unit of the column's numbers, `%` or `nats`."""
    cells = [cell for row in rows if isinstance(cell := row.cells.get(column), Cell)]
    return number_format.unit(cells[0].measure) if cells else ""
