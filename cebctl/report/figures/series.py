"""The marks and series of a report's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cebctl.report import number_format
from cebctl.report.cells import Cell, Row
from cebctl.report.figures.marks import Kind, Mark, Series
from cebctl.report.selection import family_name
from experiments.matrix.planned_run import format_value
from experiments.published import PublishedNumber


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


def published_mark(number: PublishedNumber, at: float) -> Mark:
    """Return a published number as a mark, of a range with its ends around the middle."""
    factor, _ = number_format.scale(number.measure)
    ends = [end * factor for end in (number.value, number.upper) if end is not None]
    low, high = (ends[0], ends[1]) if len(ends) > 1 else (None, None)
    return Mark(at, sum(ends) / len(ends), low, high, label=f"{number.subject}, {number.text} ({number.source})")


def published_series(numbers: Sequence[tuple[float, PublishedNumber]], swept: bool, style: int) -> Iterator[Series]:
    """Yield the series of a family's published numbers, each with its abscissa: across, if the family has none."""
    kinds: dict[tuple[Kind, str, bool], list[Mark]] = {}
    for at, number in numbers:
        kind: Kind = "published" if swept else "published_line"
        if swept and number.upper is not None:
            kind = "published_range"
        elif swept and number.relation in ("above", "below"):
            kind = "published_bound"
        key = (kind, number.subject, number.relation == "below")
        kinds.setdefault(key, []).append(published_mark(number, at))
    for (kind, subject, points_down), marks in kinds.items():
        ordered = tuple(sorted(marks, key=lambda mark: mark.at))
        yield Series(f"{subject}, paper", kind, style, ordered, points_down=points_down)


def group_by_family(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows by family: those that differ in rho only; rows off their target are a family of their own."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(family_name(row.axes) + number_format.OFF_TARGET * bool(row.last_rho), []).append(row)
    return families


def series_over_rho(
    rows: Sequence[Row], column: str, styles: dict[str, int], printed: Callable[[Row, Cell], PublishedNumber | None]
) -> Iterator[Series]:
    """Yield a line for each family, a baseline for each run without rho, and the published numbers of both, which
    `printed` finds for a row and its cell."""
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
        numbers = [(row.axes.get("rho", edge), number) for row, cell in cells if (number := printed(row, cell))]
        yield from published_series(numbers, swept, styles[name])


def family_styles(rows: Sequence[Row]) -> dict[str, int]:
    """Return a style for each family, the same in every panel."""
    return {name: index for index, name in enumerate(group_by_family(rows))}


def column_unit(rows: Sequence[Row], column: str) -> str:
    """Return the unit of the column's numbers, `%` or `nats`."""
    cells = [cell for row in rows if isinstance(cell := row.cells.get(column), Cell)]
    return number_format.unit(cells[0].measure) if cells else ""
