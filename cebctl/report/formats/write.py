"""A report as a terminal table, Markdown, CSV, JSON or LaTeX.

Accuracies and errors are percent for people, and fractions in JSON and CSV.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from typing import Any

from cebctl import text_output
from cebctl.render.console import print_json
from cebctl.report import number_format
from cebctl.report.cells import Cell, Missing, Report
from cebctl.report.claims.view import CSV_FIELDS, claims_csv, claims_json
from cebctl.report.formats import latex, markdown, terminal
from experiments.matrix.planned_run import format_value


def write_report(report: Report, format: str) -> None:
    """Write the report to stdout in one of: table, md, csv, json, latex."""
    _WRITERS[format](report)


def write_claims(report: Report, format: str) -> None:
    """Write the verdicts on the claims alone, in the same formats."""
    if format == "json":
        print_json({"matrix": report.matrix, "title": report.title, "claims": claims_json(report.claims)})
    else:
        write_report(dataclasses.replace(report, tables=(), notes=()), format)


def report_json(report: Report) -> dict[str, Any]:
    """Return the report for `--json`; its keys are part of the interface."""
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
                        "last_rho": row.last_rho,
                        "cells": {name: cell_json(row.cells[name]) for name in table.columns},
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
                threat: {"informative": audit.verdict.informative, "reasons": audit.verdict.reasons, "n": audit.n}
                for threat, audit in audits.items()
            }
            for run_id, audits in report.verdicts.items()
        },
    } | ({"claims": claims_json(report.claims)} if report.claims else {})


def cell_json(cell: Cell | Missing) -> dict[str, Any]:
    """Return a number with all its fields, or the reason for its absence."""
    if isinstance(cell, Missing):
        published = {"published": cell.published, "published_text": cell.published_text} if cell.published_text else {}
        why_not = {"not_comparable": cell.not_comparable} if cell.not_comparable else {}
        return {"missing": cell.reason} | published | why_not
    return dataclasses.asdict(cell) | {"seeds_asked": cell.seeds_asked, "difference": cell.difference}


def _csv(report: Report) -> None:
    """Print a line for each cell with its interval; `run_ids` are the runs that made it, or would have."""
    buffer = io.StringIO()
    axes = list(dict.fromkeys(key for table in report.tables for row in table.rows for key in row.axes))
    names = [field.name for field in dataclasses.fields(Cell) if field.name != "run_ids"]
    fields = [*names, "seeds_asked", "difference", "missing", "last_rho", *(CSV_FIELDS if report.claims else ())]
    writer = csv.DictWriter(buffer, ["table", "run_ids", *axes, "column", *fields], lineterminator="\n")
    writer.writeheader()
    for table in report.tables:
        for row in table.rows:
            row_axes = {
                key: format_value(value) if isinstance(value, tuple) else value for key, value in row.axes.items()
            }
            last_rho = " ".join("inf" if rho is None else f"{rho:g}" for rho in row.last_rho.values())
            for name in table.columns:
                cell = row.cells[name]
                line = {"run_ids": row.run_ids} | cell_json(cell)
                line["run_ids"] = " ".join(line["run_ids"])
                if isinstance(cell, Cell):
                    line |= {"absent": number_format.absent_seeds(cell), "changed": " ".join(cell.changed)}
                where = {"table": table.name, "column": name, "last_rho": last_rho}
                writer.writerow(where | row_axes | line)
    writer.writerows(claims_csv(report.claims))
    text_output.write(buffer.getvalue(), end="")


_WRITERS: dict[str, Callable[[Report], None]] = {
    "table": terminal.write,
    "md": markdown.write,
    "csv": _csv,
    "json": lambda report: print_json(report_json(report)),
    "latex": latex.write,
}
