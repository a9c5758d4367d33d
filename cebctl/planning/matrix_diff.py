"""Compare a matrix with its last submission: its runs and benchmarks against those that were claimed for it.

A submission claims only what is missing. So the earlier matrix is the sum of all claims that submissions of the file
ever made, cancelled ones included. A run that was submitted by another matrix is not new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from cebctl.status.states import RunStatus
from experiments.benchmarks import AnyBenchmark, describe, is_runnable
from experiments.matrix.planned_run import Matrix
from experiments.matrix.spec_fields import Path, flatten, schema
from experiments.own_parts.within import parts_within
from experiments.spec import Run, read_run
from jobs.journal.records import NOBODY
from store import queries
from store.connect import Store

_SOURCE = "source of"


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
    paired = {name: run for name in added if name in removed and (run := read_run(specs[removed[name]]))}
    runs_now = {run.run_id: run.run for run in matrix.runs}
    changed = _changed_fields([(name, run, runs_now[added[name]]) for name, run in paired.items()])
    claimed = {benchmark for _, _, benchmarks in claims for benchmark in benchmarks}
    new = _new_benchmarks(matrix, claimed, runs)
    dropped = {describe(benchmark): benchmark for benchmark in claimed - set(matrix.benchmarks)}
    # Of one description, and yet another benchmark: the source of a part of one's own is another.
    pairs = [(text, dropped[text], benchmark) for benchmark in new if (text := describe(benchmark)) in dropped]
    changed += _changed_fields(pairs)
    texts = [describe(benchmark) for benchmark in new]
    return MatrixDiff(
        last_submitted=max((row.submitted_at or 0.0 for row in submissions), default=None),
        added=tuple(name for name in added if name not in paired),
        removed=tuple(name for name in removed if name not in paired),
        changed=changed,
        added_benchmarks=tuple(text for text in texts if text not in dropped),
        removed_benchmarks=tuple(sorted(dropped.keys() - set(texts))),
    )


def _new_benchmarks(matrix: Matrix, claimed: set[AnyBenchmark], runs: Sequence[RunStatus]) -> tuple[AnyBenchmark, ...]:
    """Return the benchmarks that were never claimed for this file and have no result for some run."""
    missing = {benchmark for run in runs for stage in run.stages for benchmark in stage.missing}
    return tuple(b for b in matrix.benchmarks if b not in claimed and b in missing and is_runnable(b))


def _changed_fields(pairs: Sequence[tuple[str, Struct, Struct]]) -> tuple[FieldChange, ...]:
    """Return the fields that differ between runs, or benchmarks, of one name, with the names in which each differs."""
    changes: dict[tuple[str, str, str], tuple[Any, Any, list[str]]] = {}
    for name, old, new in pairs:
        before, after = _leaves(old), _leaves(new)
        for path in [*before, *(path for path in after if path not in before)]:
            values = before.get(path), after.get(path)
            if values[0] != values[1]:
                key = (_field_name(path), repr(values[0]), repr(values[1]))
                changes.setdefault(key, (*values, []))[2].append(name)
    return tuple(FieldChange(field, old, new, tuple(names)) for (field, _, _), (old, new, names) in changes.items())


def _leaves(value: Struct) -> dict[Path, Any]:
    """Return every field by its path, and the digests of the parts of one's own."""
    sources = {(*path, _SOURCE, part.origin): part.digest for path, part in parts_within(value)}
    return dict(flatten(value)) | sources


def _field_name(path: Path) -> str:
    return f"source of {path[-1]}" if _SOURCE in path else schema(Run).short(path)
