"""Parquet, by pyarrow: the tables of the CSV export with their types, null where a value was not finite."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cebctl.export.libraries import library
from cebctl.export.tables import TABLES, Columns, ExportedRun
from experiments.matrix.planned_run import Matrix


def write(matrix: Matrix, runs: Iterable[ExportedRun], folder: Path) -> None:
    """A file for each table, with a row group for each run that has rows."""
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
                    columns = [arrow.array(values, type=field.type) for values, field in _columns(rows, schemas[table])]
                    writer.write_table(arrow.table(columns, schema=schemas[table]))


def _schema(arrow: Any, columns: Columns) -> Any:
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    return arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])


def _columns(rows: list[tuple[Any, ...]], schema: Any) -> Iterable[tuple[tuple[Any, ...], Any]]:
    return zip(zip(*rows, strict=True), schema, strict=True)
