"""From the rows of a report to marks and series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cebctl.report import number_format
from cebctl.report.cells import Cell, Row
from cebctl.report.figures.marks import Mark, Series
from cebctl.report.selection import family_name


def short_name(row: Row, without: tuple[str, ...] = ()) -> str:
    """`ceb ρ=3 adversary=pgd`: a row's name without what is `none`; with § where its target rho was not in force."""
    parts = [number_format.axis(row.axes["objective"])]
    for key, value in row.axes.items():
        if key not in ("objective", *without) and value != "none":
            parts.append(f"{'ρ' if key == 'rho' else key.rpartition('.')[2]}={number_format.axis(value)}")
    return " ".join([*parts, *([number_format.OFF_TARGET] if row.last_rho else [])])


def cell_mark(row: Row, cell: Cell, at: float, chosen: bool = False) -> Mark:
    """A cell as a mark, in percent or nats."""
    factor, _ = number_format.scale(cell.measure)
    run_id = row.run_ids[0] if len(row.run_ids) == 1 else ""
    low, high = cell.low * factor, cell.high * factor
    fewer = f", {number_format.seed_count(cell.seeds, cell.seeds_asked)}" if cell.absent else ""
    return Mark(at, cell.value * factor, low, high, run_id, short_name(row) + fewer, chosen)


def published_mark(cell: Cell, at: float, label: str) -> Mark | None:
    """The paper's number of a cell."""
    factor, _ = number_format.scale(cell.measure)
    if cell.published is None:
        return None
    return Mark(at, cell.published * factor, label=f"{label}, published")


def group_by_family(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that differ in rho alone, and by themselves those without one; apart from these, those off their target."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(family_name(row.axes) + number_format.OFF_TARGET * bool(row.last_rho), []).append(row)
    return found


def series_over_rho(rows: Sequence[Row], column: str, styles: dict[str, int]) -> Iterator[Series]:
    """A line for each family, a baseline for each run without rho, and the papers' numbers of either."""
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
    """A style for each family, the same in every panel."""
    return {name: index for index, name in enumerate(group_by_family(rows))}


def column_unit(rows: Sequence[Row], column: str) -> str:
    """`%` or `nats`, of the column's numbers."""
    cells = [cell for row in rows if isinstance(cell := row.cells.get(column), Cell)]
    return number_format.unit(cells[0].measure) if cells else ""
