"""A matrix in a user's own program or notebook: `cebctl.Study`.

    study = cebctl.Study("my.yaml")
    study.plan()["totals"]
    study.submit(on="local", wait=True)
    study.report()

Every method calls what the command of its name calls, with the same checks. Errors are exceptions whose message is the
command's one line; what a command would print as a note is a warning.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from cebctl.planning.plan import make_plan
from cebctl.render.console import error_console
from cebctl.render.progress import watch_by_lines
from cebctl.render.status_view import state_reason, status_json, summarize_states
from cebctl.report.claims.view import claims_json
from cebctl.report.collect import collect_report
from cebctl.report.formats.write import cell_json
from cebctl.status.collect import open_home
from cebctl.status.earlier_texts import earlier_runs
from cebctl.status.home_matrix import load
from cebctl.status.polling import Snapshot, poll
from cebctl.status.rerun import parse_selections
from cebctl.status.states import RunStatus
from cebctl.study import submitting
from cebctl.study.submitting import ExecutorName, Outcome, Request
from cebctl.submission.needed_data import without_missing
from cebctl.text_output import visible
from experiments.benchmarks import full_column
from experiments.errors import InputError, expected
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home, data_folder
from store.connect import Store
from store.notebook import make_frame

if TYPE_CHECKING:
    import pandas
    from rich.console import Console

    from jobs.engine.classifier import Classifier


class Document(dict[str, Any]):
    """The document that a command prints with --json: `study.plan()["totals"]`. Its runs are also a frame."""

    def __init__(self, document: Mapping[str, Any], matrix: Matrix, summary: str) -> None:
        super().__init__(msgspec.json.decode(msgspec.json.encode(document)))
        self._matrix = matrix
        self._summary = f"{matrix.path.name}: {summary}"

    def __repr__(self) -> str:
        """Return the counts of the runs; the whole document is that of a dict."""
        return self._summary

    def frame(self) -> pandas.DataFrame:
        """Return a row for each run, with the fields in which the runs differ. Raises InputError without pandas."""
        axes = {run.run_id: run.axes for run in self._matrix.runs}
        rows = [{**axes[run["run_id"]], **_scalars(run)} for run in self["runs"]]
        return _frame(rows, self._matrix, ("run_id", "name"), "frame()")


class Study:
    """The runs of a matrix file, which is read anew by each call, in a home: the command line's, unless it is given.

    `only` selects some of the runs, as --only does; a call's own `only` selects among these.
    """

    def __init__(self, matrix: str | Path, *, only: str | None = None, home: str | Path | None = None) -> None:
        self.path = Path(matrix).absolute()
        self.home = Home.at(home)
        self.only = only
        self._matrix(None)  # its faults are known at once

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r}, home={str(self.home.folder)!r})"

    def plan(
        self,
        *,
        only: str | None = None,
        again: Sequence[str] = (),
        retry_failed: bool = False,
        gpu: str | None = None,
        gpus: int | None = None,
    ) -> Document:
        """Return what `submit` would do and cost: the document of `cebctl plan --json`. Submits and creates nothing."""
        matrix = self._matrix(only)
        rerun = parse_selections(again, matrix)
        planned = make_plan(matrix, self.home, retry_failed=retry_failed, gpu=gpu, gpus=gpus, again=rerun)
        stages = f"{len(planned.pending):,} stage{'s' * (len(planned.pending) != 1)} to submit"
        return Document(planned.to_json(), matrix, f"{summarize_states(planned.runs)}; {stages}")

    def submit(
        self,
        on: ExecutorName | None = None,
        *,
        wait: bool = False,
        only: str | None = None,
        again: Sequence[str] = (),
        retry_failed: bool = False,
        without: Literal["missing"] | None = None,
        max_gpu_hours: float | None = None,
        workers: int | None = None,
        max_parallel: int | None = None,
        unchecked: bool = False,
        progress: bool = True,
    ) -> Document:
        """Submit what is missing, and with `wait` stay until every run has ended. Return the document of `status`, with
        the number of stages that were `submitted`: `{"train": 3, "evaluate": 3}`.

        `without="missing"` leaves out the benchmarks whose images are not here, which stay new. `on` is `local` or
        `slurm`; None: as the command decides. `progress` prints a line on stderr whenever a run moves on. Raises
        InputError for what the command refuses, and UnreachableError if the cluster can't be reached.
        """
        on = on or os.environ.get("CEBCTL_ON") or None  # type: ignore[assignment]
        if on is not None and on not in get_args(ExecutorName):
            raise InputError(f"on={on!r}", "no such executor", expected(get_args(ExecutorName), on))
        matrix = self._matrix(only)
        if without not in (None, "missing"):
            raise InputError(f"without={without!r}", "can't be left out", expected(["missing"], without))
        if without:
            matrix, messages = without_missing(matrix, data_folder())
            _warn(messages)
        rerun = parse_selections(again, matrix)
        request = Request(on, retry_failed, rerun, max_gpu_hours, workers, max_parallel, heed=not unchecked)
        introduce = partial(_progress_console(progress).print, markup=False)
        with _keeping_umask(), submitting.submit_missing(matrix, self.home, request, _warn, introduce) as outcome:
            if rerun:
                _warn(submitting.describe_runs_left(outcome, matrix))
            submitted = _announce(outcome, matrix)
            if wait:
                watch = partial(self._watch, matrix, outcome.store, progress)
                runs = submitting.follow(matrix, self.home, outcome, watch, lambda submission: None)
                _warn_of_failures(runs)
            else:
                runs = poll(matrix, outcome.store, self.home).runs
            document = self._status(matrix, runs)
            document["submitted"] = submitted
            return document

    def status(self, *, only: str | None = None) -> Document:
        """Return the states of the runs: the document of `cebctl status --json`."""
        matrix = self._matrix(only)
        with _keeping_umask(), open_home(self.home) as store:
            snapshot = poll(matrix, store, self.home)
            whole = load(self.path, self.home)
            earlier = earlier_runs({str(whole.path.absolute()): whole}, store, self.home)
        _warn(snapshot.warnings)
        return Document(status_json(matrix, snapshot.runs, earlier), matrix, summarize_states(snapshot.runs))

    def wait(self, *, only: str | None = None, progress: bool = True) -> Document:
        """Stay until no run is queued or running, and return `status`. The runs go on if it is interrupted."""
        matrix = self._matrix(only)
        with _keeping_umask(), open_home(self.home) as store:
            runs = self._watch(matrix, store, progress).runs
        _warn_of_failures(runs)
        return self._status(matrix, runs)

    def report(self, *, only: str | None = None) -> pandas.DataFrame:
        """Return a row for each number of the report: its row's axes, the column, the value with its interval, the
        published number, or why it is missing. The notes are in `.attrs["notes"]`, the verdicts on claims in
        `.attrs["claims"]`.

        Raises InputError if pandas is not installed.
        """
        matrix = self._matrix(only)
        with _keeping_umask(), open_home(self.home) as store:
            report = collect_report(matrix, store, self.home).report
        rows = [
            {"table": table.name, "column": column, **row.axes, **_scalars(cell_json(row.cells[column]))}
            for table in report.tables
            for row in table.rows
            for column in table.columns
        ]
        frame = _frame(rows, matrix, ("table", "column"), "report()")
        frame.attrs["notes"] = list(report.notes)
        frame.attrs["claims"] = claims_json(report.claims)
        return frame

    def frame(self, *, only: str | None = None) -> pandas.DataFrame:
        """Return a row for each run: its axes, its state, and the newest value of each measure under the name of its
        column. Counts are fractions. Raises InputError if pandas is not installed."""
        matrix = self._matrix(only)
        with _keeping_umask(), open_home(self.home) as store:
            collected = collect_report(matrix, store, self.home)
        rows = {
            run.planned.run_id: {"run_id": run.planned.run_id, "name": run.planned.name, **run.planned.axes}
            | {"state": run.state}
            for run in collected.runs
        }
        order = {benchmark: number for number, benchmark in enumerate(matrix.benchmarks)}
        for result in sorted(collected.rows, key=lambda row: order.get(row.benchmark, len(order))):
            if "/" not in result.name:  # `fog/3` is one severity of many
                rows[result.run_id][full_column(result.benchmark, result.name)] = result.number
        return _frame(list(rows.values()), matrix, ("run_id", "name"), "frame()")

    def load_model(self, run: str) -> Classifier:
        """Return the trained classifier of a run of the matrix, by its id or name, as `cebctl.load_model` does."""
        from cebctl.trained_model import load_model

        return load_model(run, matrix=self.path, home=self.home.folder)

    def _matrix(self, only: str | None) -> Matrix:
        return load(self.path, self.home).select(self.only).select(only)

    def _status(self, matrix: Matrix, runs: Sequence[RunStatus]) -> Document:
        return Document(status_json(matrix, runs), matrix, summarize_states(runs))

    def _watch(self, matrix: Matrix, store: Store, progress: bool) -> Snapshot:
        return watch_by_lines(partial(poll, matrix, store, self.home), _progress_console(progress))


def _progress_console(shown: bool) -> Console:
    console = error_console()
    console.quiet = not shown
    return console


def _announce(outcome: Outcome, matrix: Matrix) -> dict[str, int]:
    """Return the number of stages that were submitted, and warn of those that were not. Raises the first error in
    sending, if only a part was accepted."""
    submission = outcome.submission
    _warn(submitting.describe_unclaimed(outcome, matrix))
    if submission is None:
        return {}
    _warn(submitting.describe_ineffective_settings(submission, matrix))
    _warn([f"not submitted: {claim.label}, {claim.stage}: {reason}" for claim, reason in submission.returned])
    if submission.error:
        raise submission.error
    stages = [claim.stage for claim in submission.claims]
    return {stage: stages.count(stage) for stage in dict.fromkeys(stages)}


def _warn_of_failures(runs: Sequence[RunStatus]) -> None:
    failed = [run for run in runs if run.state in ("failed", "lost")]
    _warn([f"{run.state}: {run.planned.name}, {run.current.stage}: {state_reason(run)}" for run in failed])


def _frame(rows: Sequence[Mapping[str, Any]], matrix: Matrix, first: Sequence[str], caller: str) -> pandas.DataFrame:
    """Return a frame whose columns are those of `first`, the axes of the matrix, then the others."""
    columns = dict.fromkeys([*first, *(axis for run in matrix.runs for axis in run.axes)])
    return make_frame(rows, list(columns | dict.fromkeys(key for row in rows for key in row)), caller)


def _scalars(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if not isinstance(value, dict | list | tuple)}


def _warn(messages: Sequence[str]) -> None:
    for message in messages:
        warnings.warn(visible(message), stacklevel=3)


@contextmanager
def _keeping_umask() -> Iterator[None]:
    """Restore the umask, which a home narrows for its own files and the caller's program needs for others."""
    before = os.umask(0o077)
    os.umask(before)
    try:
        yield
    finally:
        os.umask(before)
