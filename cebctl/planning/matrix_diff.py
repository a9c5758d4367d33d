"""What changed in a matrix since it was last submitted: its runs and benchmarks against what was claimed for it.

A submission claims only what was missing, so the matrix as it was is what all submissions of the file ever claimed,
what was cancelled or given back included, and what it shared with others: a run that is there by another matrix's doing
is not new.
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
    """Empty throughout if nothing changed."""

    last_submitted: float | None
    """None: never."""
    added: tuple[str, ...]
    """Names of runs, as in the rest."""
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
    now = {run.run_id: run.name for run in matrix.runs}
    specs = {row.run_id: row.spec for row in queries.runs(store)}
    added = {name: run_id for run_id, name in now.items() if run_id not in specs}
    removed = {label: run_id for run_id, label in before.items() if run_id not in now}
    paired = [name for name in added if name in removed]
    runs_now = {run.run_id: run.run for run in matrix.runs}
    changed = _fields([(n, msgspec.convert(specs[removed[n]], Run), runs_now[added[n]]) for n in paired])
    asked = {benchmark for _, _, benchmarks in claims for benchmark in benchmarks}
    return MatrixDiff(
        last_submitted=max((row.submitted_at or 0.0 for row in submissions), default=None),
        added=tuple(name for name in added if name not in removed),
        removed=tuple(name for name in removed if name not in added),
        changed=changed,
        added_benchmarks=_new_benchmarks(matrix, asked, runs),
        removed_benchmarks=tuple(sorted(describe(b) for b in asked - set(matrix.benchmarks))),
    )


def _new_benchmarks(matrix: Matrix, asked: set[AnyBenchmark], runs: Sequence[RunStatus]) -> tuple[str, ...]:
    """Benchmarks that were never claimed for this file and have no result for some run."""
    missing = {benchmark for run in runs for stage in run.stages for benchmark in stage.missing}
    return tuple(describe(b) for b in matrix.benchmarks if b not in asked and b in missing and is_runnable(b))


def _fields(pairs: Sequence[tuple[str, Run, Run]]) -> tuple[FieldChange, ...]:
    """The fields that differ between runs of one name, with the runs each change is found in."""
    found: dict[tuple[str, str, str], tuple[Any, Any, list[str]]] = {}
    for name, old, new in pairs:
        before, after = dict(flatten(old)), dict(flatten(new))
        for path in [*before, *(path for path in after if path not in before)]:
            values = before.get(path), after.get(path)
            if values[0] != values[1]:
                key = (schema(Run).short(path), repr(values[0]), repr(values[1]))
                found.setdefault(key, (*values, []))[2].append(name)
    return tuple(FieldChange(field, old, new, tuple(names)) for (field, _, _), (old, new, names) in found.items())
