"""Compare a matrix with its last submission: its runs and benchmarks against those that were claimed for it.

A submission claims only what is missing. So the earlier matrix is the sum of all claims that submissions of the file
ever made, cancelled ones included. A run that was submitted by another matrix is not new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cebctl.status.states import RunStatus
from experiments.benchmarks import AnyBenchmark, describe, is_runnable
from experiments.matrix.planned_run import Matrix
from experiments.matrix.spec_fields import flatten, schema
from experiments.spec import Run
from jobs.journal.records import NOBODY
from store import queries
from store.connect import Store


@dataclass(frozen=True)
class FieldChange:
    """One field that has another value now, in some runs."""

    field: str
    before: Any
    after: Any
    runs: tuple[str, ...]
    """Their names."""


@dataclass(frozen=True)
class MatrixDiff:
    """The differences; all empty if nothing changed."""

    last_submitted: float | None
    """None: never."""
    added: tuple[str, ...]
    """Names of runs, as in `removed`."""
    removed: tuple[str, ...]
    changed: tuple[FieldChange, ...]
    added_benchmarks: tuple[str, ...]
    removed_benchmarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


def diff_matrix(matrix: Matrix, runs: Sequence[RunStatus], store: Store) -> MatrixDiff:
    """Compare the matrix with the submissions of its file."""
    path = str(matrix.path.absolute())
    submissions = [row for row in queries.submissions(store) if row.matrix_path == path and row.executor != NOBODY]
    if not submissions:
        return MatrixDiff(None, tuple(run.name for run in matrix.runs), (), (), (), ())
    names = {row.name for row in submissions}
    claims = queries.claimed_benchmarks(store, names)
    before = {run_id: label for run_id, label, _ in claims}
    names_now = {run.run_id: run.name for run in matrix.runs}
    specs = {row.run_id: row.spec for row in queries.runs(store)}
    added = {name: run_id for run_id, name in names_now.items() if run_id not in specs}
    removed = {label: run_id for run_id, label in before.items() if run_id not in names_now}
    paired = [name for name in added if name in removed]
    runs_now = {run.run_id: run.run for run in matrix.runs}
    changed = _changed_fields([(n, msgspec.convert(specs[removed[n]], Run), runs_now[added[n]]) for n in paired])
    claimed = {benchmark for _, _, benchmarks in claims for benchmark in benchmarks}
    return MatrixDiff(
        last_submitted=max((row.submitted_at or 0.0 for row in submissions), default=None),
        added=tuple(name for name in added if name not in removed),
        removed=tuple(name for name in removed if name not in added),
        changed=changed,
        added_benchmarks=_new_benchmarks(matrix, claimed, runs),
        removed_benchmarks=tuple(sorted(describe(b) for b in claimed - set(matrix.benchmarks))),
    )


def _new_benchmarks(matrix: Matrix, claimed: set[AnyBenchmark], runs: Sequence[RunStatus]) -> tuple[str, ...]:
    """Return the benchmarks that were never claimed for this file and have no result for some run."""
    missing = {benchmark for run in runs for stage in run.stages for benchmark in stage.missing}
    return tuple(describe(b) for b in matrix.benchmarks if b not in claimed and b in missing and is_runnable(b))


def _changed_fields(pairs: Sequence[tuple[str, Run, Run]]) -> tuple[FieldChange, ...]:
    """Return the fields that differ between runs of one name, with the names of the runs in which each differs."""
    changes: dict[tuple[str, str, str], tuple[Any, Any, list[str]]] = {}
    for name, old, new in pairs:
        before, after = dict(flatten(old)), dict(flatten(new))
        for path in [*before, *(path for path in after if path not in before)]:
            values = before.get(path), after.get(path)
            if values[0] != values[1]:
                key = (schema(Run).short(path), repr(values[0]), repr(values[1]))
                changes.setdefault(key, (*values, []))[2].append(name)
    return tuple(FieldChange(field, old, new, tuple(names)) for (field, _, _), (old, new, names) in changes.items())
