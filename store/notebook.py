"""The interface for notebooks: past runs as tables, with the names and columns of `cebctl export`.

    from store import open_store

    open_store().results(matrix="imagenet").to_frame()

Nothing is written, and no connection stays open: each call reads the store's current state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

import experiments
from experiments.benchmarks import AnyBenchmark, full_column
from experiments.errors import InputError, expected
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.read_only import read_only
from store.row_types import ResultRow

if TYPE_CHECKING:
    import pandas

Axes = Mapping[str, Any]
"""The fields in which a matrix's runs differ, under their short names: `{"objective": "ceb", "rho": 3.0}`. Empty
without a matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the matrix, submitted or not; without a matrix, a submitted run."""

    run_id: str
    name: str
    axes: Axes
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A scalar at a step; a step that ran twice has the value of its last run."""

    run_id: str
    axes: Axes
    stage: str
    name: str
    step: int
    attempt: int
    epoch: float
    value: float | None
    """None where it was not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A measure of an evaluation, by the newest attempt that finished it."""

    run_id: str
    axes: Axes
    column: str
    """The name of its column in the report: `clean`, `pgd_linf@eps=8/255,n=20`."""
    name: str
    unit: str
    """The unit of `value`: `accuracy`, `error`, `nats`, …"""
    total: int
    """Number of images."""
    correct: int | None
    """None for a mean."""
    value: float | None
    """A count as a fraction in [0, 1]."""
    std: float | None
    """Over images."""
    evaluation_id: str
    benchmark: AnyBenchmark
    stage: str
    attempt: int
    checkpoint_step: int
    data_digest: str
    engine: str
    """Digest of the code that made it."""
    measured_at: float
    """Seconds since the epoch."""
    seconds: float
    generation: int
    """The count of the times that it was measured anew."""
    numerics: Mapping[str, int] | None
    """Versions of the parts of the engine that made it (`experiments.numerics`); None if not recorded."""
    libraries: Mapping[str, str] | None
    """Versions of the packages that made it; None if not recorded."""


_RESULT_COLUMNS = [field.name for field in fields(Result) if field.name in ResultRow.__slots__]

Row = TypeVar("Row", Run, Metric, Result)

_SHOWN_COLUMNS = 4
"""The number of columns in a table's `repr`."""


@dataclass(frozen=True, repr=False)
class Table(Generic[Row]):
    """Rows of one kind; iterating yields typed rows."""

    kind: type[Row]
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        """Return `<Table of 12 results: run_id, objective, rho, column, …>`; `to_frame` shows the rows."""
        kind = self.kind.__name__.lower() + "s" * (len(self) != 1)
        return f"<Table of {len(self):,} {kind}: {', '.join(self.columns[:_SHOWN_COLUMNS])}, …>"

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the export's columns, with the axes behind `run_id`."""
        axes: dict[str, None] = dict.fromkeys(axis for row in self.rows for axis in row.axes)
        run_id, *columns = (field.name for field in fields(self.kind) if field.name != "axes")
        return (run_id, *axes, *columns)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dictionary of all columns for each row, with None for fields that the run does not have.

        Specs and benchmarks are JSON, as in the export.
        """
        columns = self.columns
        return [
            {name: row.axes.get(name) if name in row.axes else _plain(getattr(row, name, None)) for name in columns}
            for row in self.rows
        ]

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas frame of `to_dicts`. Raises InputError if pandas is not installed."""
        return make_frame(self.to_dicts(), self.columns, "to_frame()")


def make_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], caller: str) -> pandas.DataFrame:
    """Return a pandas frame of rows. Raises InputError, which names the caller, if pandas is not installed."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        remedy = "install the extra: `pip install -e '.[notebook]'`"
        raise InputError(caller, "needs the package pandas", remedy) from None
    return pandas.DataFrame(rows, columns=list(columns))


@dataclass(frozen=True)
class Reader:
    """The past runs of one home.

    `matrix` is the file of a matrix, or the name of one that was submitted from the home or comes with cebctl; None:
    all runs that were ever submitted. `only` selects some of its runs, as the command line's `--only` does. The methods
    raise InputError for a missing or invalid matrix, and UnreachableError if the store can't be read.
    """

    home: Home

    def runs(self, matrix: str | Path | None = None, only: str | None = None) -> Table[Run]:
        """Return the runs, in the order of the matrix. Their states are in `cebctl status --json`."""
        with read_only(self.home) as store:
            return Table(Run, tuple(self._runs(store, matrix, only)))

    def metrics(
        self, matrix: str | Path | None = None, only: str | None = None, names: Collection[str] | None = None
    ) -> Table[Metric]:
        """Return the metrics of these names (None: all), in order of run, stage, name and step.

        Raises InputError for a name that no run of the store has, if any run has metrics yet.
        """
        with read_only(self.home) as store:
            rows = tuple(
                Metric(run_id=run.run_id, axes=run.axes, **{name: getattr(row, name) for name in row.__slots__})
                for run in self._runs(store, matrix, only)
                for row in queries.metrics(store, run.run_id, names)
            )
            unmatched = set(names or ()) - {row.name for row in rows}
            metric_names = queries.metric_names(store) if unmatched else []
        for name in sorted(unmatched - set(metric_names) if metric_names else ()):
            raise InputError(f"names: {name!r}", "no run has a metric of this name", expected(metric_names, name))
        return Table(Metric, rows)

    def results(self, matrix: str | Path | None = None, only: str | None = None) -> Table[Result]:
        """Return the newest result of every evaluation, also of benchmarks that the matrix no longer requests."""
        with read_only(self.home) as store:
            runs = {run.run_id: run for run in self._runs(store, matrix, only)}
            order = {run_id: number for number, run_id in enumerate(runs)}
            rows = sorted(queries.results(store, runs), key=lambda row: order[row.run_id])
        return Table(
            Result,
            tuple(
                Result(
                    axes=runs[row.run_id].axes,
                    column=full_column(row.benchmark, row.name),
                    **{name: getattr(row, name) for name in _RESULT_COLUMNS} | {"value": row.number},
                )
                for row in rows
            ),
        )

    def _runs(self, store: Store, matrix: str | Path | None, only: str | None) -> list[Run]:
        if matrix is not None:
            chosen = _matrix(matrix, store).select(only)
            return [
                Run(run_id=run.run_id, name=run.name, axes=run.axes, spec=msgspec.to_builtins(run.run))
                for run in chosen.runs
            ]
        if only:
            raise InputError(f"only={only!r}", "selects among the runs of a matrix", "name one by matrix=…")
        return [Run(run_id=row.run_id, name=row.label, axes={}, spec=row.spec) for row in queries.runs(store)]


def open_store(home: str | Path | None = None) -> Reader:
    """Open the store of a home to read it; by default the command line's: CEBCTL_HOME or ./.cebctl, and CEBCTL_STORE.

    Raises InputError if the home does not exist.
    """
    chosen = Home.at(home)
    if not chosen.folder.is_dir() and not chosen.has_own_store:
        raise InputError(chosen.folder, "there is no home", "name one: open_store(FOLDER), or set CEBCTL_HOME")
    return Reader(chosen)


def _matrix(matrix: str | Path, store: Store) -> Matrix:
    """Load a matrix by file or by name: that of the newest submission of this name, else one that comes with cebctl."""
    if isinstance(matrix, Path) or "/" in matrix or matrix.endswith((".yaml", ".yml")):
        return load(Path(matrix))
    submitted = {row.matrix: Path(row.matrix_path) for row in queries.submissions(store)}
    shipped = {path.stem: path for path in Path(experiments.__file__).parent.glob("[!.]*.yaml")}
    files = shipped | {name: path for name, path in submitted.items() if path.is_file()}
    if matrix in files:
        return load(files[matrix])
    if matrix in submitted:
        raise InputError(f"matrix {matrix!r}", f"its file {submitted[matrix]} is not here; name a copy of it")
    raise InputError(f"matrix {matrix!r}", "no matrix of this name", expected(files, matrix))


def _plain(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, Mapping | msgspec.Struct) else value
