"""CSV: `runs.csv`, `metrics.csv`, `results.csv`, joined by `run_id`.

Reading a number gives the same bits again. Null, and a value that was not finite, is an empty field.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cebctl.export.tables import TABLES, ExportedRun
from cebctl.text_output import visible
from experiments.matrix.planned_run import Matrix


def write(matrix: Matrix, runs: Iterable[ExportedRun], folder: Path) -> None:
    """Write a file for each table."""
    with ExitStack() as files:
        writers = {}
        for table, columns in TABLES.items():
            file = files.enter_context((folder / f"{table}.csv").open("w", newline="", encoding="utf-8"))
            writers[table] = csv.writer(file)
            writers[table].writerow(columns)
        for run in runs:
            for table, writer in writers.items():
                writer.writerows(map(_visible_row, run.rows(table)))


def _visible_row(row: Iterable[Any]) -> list[Any]:
    return [visible(value) if isinstance(value, str) else value for value in row]
