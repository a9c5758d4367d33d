"""Runs that extend a run which was never submitted, and the runs that they could extend instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cebctl.status.states import RunStatus
from experiments import lineage
from experiments.identity import run_id
from experiments.matrix.planned_run import Matrix, PlannedRun, format_value
from experiments.matrix.spec_fields import flatten, schema
from experiments.spec import Run, read_run
from store import queries
from store.connect import Store

_LENGTHS = ("epochs", "extends")


def missing_parents(matrix: Matrix, runs: Iterable[RunStatus], store: Store) -> list[str]:
    """Return a message for each run that extends one which was never submitted and is not of this matrix: with the
    runs that it could extend instead."""
    waiting = [run.planned for run in runs if run.stages[0].untrained_parent]
    if not waiting:
        return []
    own_ids = {run.run_id for run in matrix.runs}
    specs = {row.run_id: row.spec for row in queries.runs(store)}
    return [
        f"{run.name} extends the run of {_length(parent)} with the same other fields, which was never submitted "
        f"from this home and is not submitted with it; {_describe_nearest(run, specs)}"
        for run in waiting
        if (parent := lineage.parent(run.run)) and run_id(parent) not in own_ids | specs.keys()
    ]


def _describe_nearest(planned: PlannedRun, specs: Mapping[str, Any]) -> str:
    """Say which runs of this home it could extend: the same ones of other lengths, else the one that differs least."""
    fields = _fields(planned.run)
    runs = {run_id: run for run_id, spec in specs.items() if (run := read_run(spec))}
    stored = {run_id: _fields(spec) for run_id, spec in runs.items()}
    differences = {
        run_id: sorted(path for path in fields.keys() | other.keys() if fields.get(path) != other.get(path))
        for run_id, other in stored.items()
    }
    if lengths := sorted(_length(runs[run_id]) for run_id, paths in differences.items() if not paths):
        return f"there is one of {' and one of '.join(lengths)}"
    if not stored:
        return "there are no runs at all"
    nearest = min(differences, key=lambda run_id: len(differences[run_id]))
    values = [
        f"{schema(Run).short(path)} {format_value(stored[nearest].get(path))}, here {format_value(fields.get(path))}"
        for path in differences[nearest][:3]
    ]
    return f"the nearest, {nearest}, has {'; '.join(values)}"


def _length(run: Run) -> str:
    epochs = f"{run.epochs:g} epoch{'s' * (run.epochs != 1)}"
    return f"{epochs} (extends: [{', '.join(f'{length:g}' for length in run.extends)}])" if run.extends else epochs


def _fields(run: Run) -> dict[tuple[str, ...], Any]:
    return {path: value for path, value in flatten(run) if path[0] not in _LENGTHS}
