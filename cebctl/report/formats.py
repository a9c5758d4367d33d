"""A report as a terminal table, Markdown, CSV, JSON or LaTeX.

Where a person reads, accuracies and errors are percent; in JSON and CSV they are fractions.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table as RichTable

from cebctl.render.console import out, print_json
from cebctl.report.cells import Cell, Missing, Report, Row, Table

PERCENT = ("accuracy", "error", "share", "success")
_NONE = "–"
_HEADINGS = {
    "rate": "R",
    "residual_information": "Rex",
    "conditional_entropy": "H(Y|Z)",
}


def write(report: Report, format: str) -> None:
    """Write the report to stdout in one of: table, md, csv, json, latex."""
    _WRITERS[format](report)


def to_json(report: Report) -> dict[str, Any]:
    """DESIGN's contract of `report --json`."""
    return {
        "matrix": report.matrix,
        "title": report.title,
        "tables": [
            {
                "name": table.name,
                "columns": table.columns,
                "rows": [
                    {
                        "run_ids": row.run_ids,
                        "axes": row.axes,
                        "cells": {name: _cell_json(cell) for name, cell in row.cells.items()},
                    }
                    for row in table.rows
                ],
            }
            for table in report.tables
        ],
        "selected": {name: dataclasses.asdict(chosen) for name, chosen in report.selected.items()},
        "notes": report.notes,
        "verdicts": {
            run_id: {
                threat: {"informative": said.informative, "reasons": said.reasons} for threat, said in mine.items()
            }
            for run_id, mine in report.verdicts.items()
        },
    }


def _cell_json(cell: Cell | Missing) -> dict[str, Any]:
    if isinstance(cell, Missing):
        return {"missing": cell.reason} | ({} if cell.published is None else {"published": cell.published})
    return dataclasses.asdict(cell)


def _terminal(report: Report) -> None:
    console = out()
    for table in report.tables:
        console.print(escape(table.name), style="bold")
        axes = list(
            zip(_axis_names(table), *(_axes(table, row, _is_selected(report, row)) for row in table.rows), strict=True)
        )
        cells = [[heading, *column] for heading, column in zip(_headings(table), _texts(table), strict=True)]
        for block in _blocks(axes, cells, console.width):
            grid = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for heading, *_ in block:
                grid.add_column(escape(heading), justify="right", no_wrap=True)
            for row in list(zip(*block, strict=True))[1:]:
                grid.add_row(*(f"[dim]{text}[/]" if text == _NONE else escape(text) for text in row))
            console.print(grid)
            console.print()
    for note in report.notes:
        console.print(escape(note), style="dim")
    for line in _gaps(report):
        console.print(escape(line), style="yellow")


def _blocks(axes: Sequence[Sequence[str]], cells: Sequence[Sequence[str]], width: int) -> Iterator[list[Sequence[str]]]:
    """The columns in as many tables as are needed to fit the width, each behind the axes: a number is never cut."""
    room = width - sum(_width(column) for column in axes)
    block: list[Sequence[str]] = []
    for column in cells:
        if block and sum(_width(other) for other in [*block, column]) > room:
            yield [*axes, *block]
            block = []
        block.append(column)
    yield [*axes, *block]


def _width(column: Sequence[str]) -> int:
    return max(len(line) for text in column for line in text.split("\n")) + 2


def _texts(table: Table) -> list[list[str]]:
    return [[_text(row.cells[name]) for row in table.rows] for name in table.columns]


def _markdown(report: Report) -> None:
    for table in report.tables:
        print(f"**{table.name}**\n")
        headings = [*_axis_names(table), *_headings(table)]
        print("| " + " | ".join(heading.replace("\n", "<br>").replace("|", r"\|") for heading in headings) + " |")
        print("|" + " --- |" * len(headings))
        for row in table.rows:
            cells = [_text(row.cells[name]) for name in table.columns]
            print("| " + " | ".join([*_axes(table, row, _is_selected(report, row)), *cells]) + " |")
        print()
    for note in (*report.notes, *_gaps(report)):
        print(f"- {note}")


def _csv(report: Report) -> None:
    """One line per cell, so that a number never loses its interval."""
    buffer = io.StringIO()
    axes = list(dict.fromkeys(key for table in report.tables for row in table.rows for key in row.axes))
    fields = [field.name for field in dataclasses.fields(Cell)]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "run_ids", *axes, "column", *fields, "missing"])
    for table in report.tables:
        for row in table.rows:
            for name in table.columns:
                cell = row.cells[name]
                values = [""] * len(fields) + [cell.reason] if isinstance(cell, Missing) else [*_plain(cell), ""]
                writer.writerow(
                    [table.name, " ".join(row.run_ids), *(row.axes.get(k, "") for k in axes), name, *values]
                )
    sys.stdout.write(buffer.getvalue())


def _plain(cell: Cell) -> list[Any]:
    return ["" if value is None else value for value in dataclasses.astuple(cell)]


def _latex(report: Report) -> None:
    """A booktabs table; needs \\usepackage{booktabs}."""
    for table in report.tables:
        headings = [_tex(heading.replace("\n", " ")) for heading in (*_axis_names(table), *_headings(table))]
        print(f"% {table.name}: cebctl report {report.matrix}")
        print(r"\begin{tabular}{" + "l" * _axes_count(table) + "r" * len(table.columns) + "}")
        print(r"\toprule")
        print(" & ".join(headings) + r" \\")
        print(r"\midrule")
        for row in table.rows:
            cells = [_text(row.cells[name]) for name in table.columns]
            print(" & ".join(_tex(text) for text in [*_axes(table, row, _is_selected(report, row)), *cells]) + r" \\")
        print(r"\bottomrule")
        print(r"\end{tabular}")
    for note in (*report.notes, *_gaps(report)):
        print(f"% {note}")


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"$|$", "<": r"$<$", ">": r"$>$",
    "±": r"$\pm$", "–": "--", "†": r"\dag{}", "*": r"$^*$",
}  # fmt: skip


def _tex(text: str) -> str:
    return re.sub("|".join(re.escape(key) for key in _TEX), lambda match: _TEX[match[0]], text)


# --- the words of cells and headings ---


def _headings(table: Table) -> list[str]:
    found = []
    for name in table.columns:
        cells = [row.cells[name] for row in table.rows]
        numbers = [cell for cell in cells if isinstance(cell, Cell)]
        base = name.partition("@")[0]
        unit = ("%" if numbers[0].measure in PERCENT else numbers[0].measure) if numbers else ""
        n = f"n={numbers[0].n:,}" if numbers else ""
        under = ", ".join(part for part in (unit, n) if part)
        found.append(_HEADINGS.get(base, base) + name.removeprefix(base) + (f"\n{under}" if under else ""))
    return found


def _axis_names(table: Table) -> list[str]:
    return list(dict.fromkeys(key for row in table.rows for key in row.axes))


def _axes_count(table: Table) -> int:
    return len(_axis_names(table))


def _axes(table: Table, row: Row, starred: bool) -> list[str]:
    values = []
    for key in _axis_names(table):
        value = row.axes.get(key, _NONE)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        values.append(text + "*" if starred and key == "rho" else text)
    return values


def _is_selected(report: Report, row: Row) -> bool:
    return any(chosen.run_ids == row.run_ids for chosen in report.selected.values())


def _text(cell: Cell | Missing) -> str:
    if isinstance(cell, Missing):
        return _NONE
    scale, digits = (100.0, 1) if cell.measure in PERCENT else (1.0, 2)
    spread = f" ±{cell.std * scale:.{digits}f}" if cell.seeds > 1 else ""
    published = f" (paper {cell.published * scale:.{digits}f})" if cell.published is not None else ""
    interval = f"[{cell.low * scale:.{digits}f}, {cell.high * scale:.{digits}f}]"
    return f"{cell.value * scale:.{digits}f}{spread} {interval}{published}{'†' if cell.stale else ''}"


def _gaps(report: Report) -> list[str]:
    """Why cells are missing, a line per reason, except where the measure does not exist for the objective."""
    reasons: dict[str, dict[str, None]] = {}
    for table in report.tables:
        for row in table.rows:
            for cell in row.cells.values():
                if isinstance(cell, Missing) and not cell.reason.startswith(("not defined", "not asked")):
                    label = " ".join(str(part) if key == "objective" else f"{key}={part:g}" if isinstance(part, float)
                                     else f"{key}={part}" for key, part in row.axes.items())  # fmt: skip
                    reasons.setdefault(cell.reason, {})[label] = None
    return [f"missing, {reason}: {', '.join(labels)}" for reason, labels in reasons.items()]


_WRITERS: dict[str, Callable[[Report], None]] = {
    "table": _terminal,
    "md": _markdown,
    "csv": _csv,
    "json": lambda report: print_json(to_json(report)),
    "latex": _latex,
}
