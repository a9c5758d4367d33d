"""The export of a matrix from the store by the writer of a format, all or nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cebctl.export.tables import ExportedRun
from cebctl.status.collect import collect_statuses
from experiments.atomic_files import filling, sweep
from experiments.errors import InputError
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store import queries
from store.connect import Store

Write = Callable[[Matrix, Iterable[ExportedRun], Path], None]


def export(matrix: Matrix, store: Store, home: Home, to: str, out: Path) -> int:
    """Write a matrix's runs, metrics and results as csv, parquet, tensorboard or mlflow; return the number of runs.

    The folder `out` appears when it is complete. Raises InputError if it exists and is not empty, can't be written, or
    the format's library is not installed.
    """
    # Imported by name, so that the libraries of other formats need not be installed.
    write: Write = importlib.import_module(f"cebctl.export.{'csv_files' if to == 'csv' else to}").write
    try:
        sweep(out)
        if out.is_dir() and any(out.iterdir()):
            raise InputError(out, "is there already", "a new or an empty folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with filling(out) as temporary:
            write(matrix, _exported_runs(matrix, store, home), temporary)
    except OSError as error:
        raise InputError(out, error.strerror or str(error)) from error
    return len(matrix.runs)


def _exported_runs(matrix: Matrix, store: Store, home: Home) -> Iterator[ExportedRun]:
    for status in collect_statuses(matrix, store, home):
        run_id = status.planned.run_id
        yield ExportedRun(
            status.planned, status.state, queries.metrics(store, run_id), queries.results(store, [run_id])
        )
