"""The export to Parquet, by pyarrow: the tables of the CSV export with types; null where a value was not finite."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cebctl.export.libraries import library
from cebctl.export.tables import TABLES, Columns, ExportedRun
from experiments.matrix.planned_run import Matrix


def write(matrix: Matrix, runs: Iterable[ExportedRun], folder: Path) -> None:
    """Write a file for each table, with a row group for each run that has rows."""
    arrow, parquet = library("pyarrow", "parquet"), library("pyarrow.parquet", "parquet")
    schemas = {table: _schema(arrow, columns) for table, columns in TABLES.items()}
    with ExitStack() as files:
        writers = {
            table: files.enter_context(parquet.ParquetWriter(folder / f"{table}.parquet", schema))
            for table, schema in schemas.items()
        }
        for run in runs:
            for table, writer in writers.items():
                rows = list(run.rows(table))
                if rows:
                    fields = zip(zip(*rows, strict=True), schemas[table], strict=True)
                    columns = [arrow.array(values, type=field.type) for values, field in fields]
                    writer.write_table(arrow.table(columns, schema=schemas[table]))


def _schema(arrow: Any, columns: Columns) -> Any:
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    return arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
