"""For notebooks: what happened as tables, with the names and columns of `cebctl export`.

    from store import open_store

    open_store().results(matrix="imagenet").to_frame()

Nothing is written and nothing is held open between questions; each sees the store as it is then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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
"""The fields that tell a matrix's runs apart, under their short names: `{"objective": "ceb", "rho": 3.0}`. Empty where
no matrix was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the matrix, whether it was ever submitted or not; without a matrix, one that was."""

    run_id: str
    name: str
    axes: Axes
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A scalar at a step; of a step that was run twice, as it was last run."""

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
    """The report's name of it: `clean`, `pgd_linf@eps=8/255,n=20`."""
    name: str
    unit: str
    """`accuracy`, `error`, `nats`, …: what `value` is."""
    total: int
    """Images."""
    correct: int | None
    """None where it is no count."""
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
    """Counts the times that it was measured anew."""
    numerics: Mapping[str, int] | None
    """Versions of the parts of the engine that made it (`experiments.numerics`); None where it did not say."""
    libraries: Mapping[str, str] | None
    """Versions of the packages that made it; None where it did not say."""


_OF_A_ROW = [field.name for field in fields(Result) if field.name in ResultRow.__slots__]

Row = TypeVar("Row", Run, Metric, Result)


_HEADS = 4
"""Columns that a table names when it is only looked at."""


@dataclass(frozen=True, repr=False)
class Table(Generic[Row]):
    """Rows of one kind: walk it, or `rows`, for typed ones."""

    kind: type[Row]
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        """`<Table of 12 results: run_id, objective, rho, column, …>`: its rows are for `to_frame`."""
        kind = self.kind.__name__.lower() + "s" * (len(self) != 1)
        return f"<Table of {len(self):,} {kind}: {', '.join(self.columns[:_HEADS])}, …>"

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The export's, and behind `run_id` the axes."""
        varied: dict[str, None] = dict.fromkeys(axis for row in self.rows for axis in row.axes)
        first, *others = (field.name for field in fields(self.kind) if field.name != "axes")
        return (first, *varied, *others)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each row with every column; None where the run has no such field. Specs and benchmarks are
        JSON, as in the export."""
        columns = self.columns
        return [
            {name: row.axes.get(name) if name in row.axes else _plain(getattr(row, name, None)) for name in columns}
            for row in self.rows
        ]

    def to_frame(self) -> pandas.DataFrame:
        """A pandas frame of `to_dicts`. Raises InputError if pandas is not installed."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            if error.name != "pandas":
                raise
            wrong = "needs the package pandas"
            raise InputError("to_frame()", wrong, "install the extra: `pip install -e '.[notebook]'`") from None
        return pandas.DataFrame(self.to_dicts(), columns=list(self.columns))


@dataclass(frozen=True)
class Reader:
    """What happened in one home.

    `matrix` is the file of a matrix, or the name of one that was submitted from the home or comes with cebctl; None:
    all runs that were ever submitted. `only` selects some of its runs, as the command line's `--only`. Raises
    InputError for a matrix that is not there or wrong, and UnreachableError where the store can't be read.
    """

    home: Home

    def runs(self, matrix: str | Path | None = None, only: str | None = None) -> Table[Run]:
        """The runs, in the order of the matrix. Whether each is queued or running, `cebctl status --json` tells."""
        with read_only(self.home) as store:
            return Table(Run, tuple(self._runs(store, matrix, only)))

    def metrics(
        self, matrix: str | Path | None = None, only: str | None = None, names: Collection[str] | None = None
    ) -> Table[Metric]:
        """The metrics of these names (None: all) by run, stage, name and step.

        Raises InputError for a name that no run of the store has, if any has metrics yet.
        """
        with read_only(self.home) as store:
            rows = tuple(
                Metric(run_id=run.run_id, axes=run.axes, **{name: getattr(row, name) for name in row.__slots__})
                for run in self._runs(store, matrix, only)
                for row in queries.metrics(store, run.run_id, names)
            )
            unseen = set(names or ()) - {row.name for row in rows}
            known = queries.metric_names(store) if unseen else []
        for name in sorted(unseen - set(known) if known else ()):
            raise InputError(f"names: {name!r}", "no run has a metric of this name", expected(known, name))
        return Table(Metric, rows)

    def results(self, matrix: str | Path | None = None, only: str | None = None) -> Table[Result]:
        """The newest result of every evaluation, those of benchmarks that the matrix no longer asks for too."""
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
                    **{name: getattr(row, name) for name in _OF_A_ROW} | {"value": row.number},
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
    """The store of a home, to be read alone; by default that of the command line: CEBCTL_HOME or ./.cebctl, and
    CEBCTL_STORE where it is set.

    Raises InputError if there is nothing.
    """
    found = Home.from_environment() if home is None else Home(Path(home).absolute())
    if not found.folder.is_dir() and not found.has_own_store:
        raise InputError(found.folder, "there is no home", "name one: open_store(FOLDER), or set CEBCTL_HOME")
    return Reader(found)


def _matrix(given: str | Path, store: Store) -> Matrix:
    """The matrix of this file or name: of the newest submission of that name, else of those that come with cebctl."""
    if isinstance(given, Path) or "/" in given or given.endswith((".yaml", ".yml")):
        return load(Path(given))
    submitted = {row.matrix: Path(row.matrix_path) for row in queries.submissions(store)}
    ours = {path.stem: path for path in Path(experiments.__file__).parent.glob("[!.]*.yaml")}
    known = ours | {name: path for name, path in submitted.items() if path.is_file()}
    if given not in known:
        gone = f"its file {submitted[given]} is not here; name a copy of it" if given in submitted else ""
        raise InputError(f"matrix {given!r}", gone or "no matrix of this name", "" if gone else expected(known, given))
    return load(known[given])


def _plain(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, Mapping | msgspec.Struct) else value
