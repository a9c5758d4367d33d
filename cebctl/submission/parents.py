"""Runs that extend a run which is not there, and what there is instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from cebctl.status.states import RunStatus
from experiments import lineage
from experiments.identity import run_id
from experiments.matrix.planned_run import Matrix, PlannedRun, format_value
from experiments.matrix.spec_fields import flatten, schema
from experiments.spec import Run
from store import queries
from store.connect import Store

_LENGTHS = ("epochs", "extends")


def missing_parents(matrix: Matrix, runs: Iterable[RunStatus], store: Store) -> list[str]:
    """Of each run that extends one which was never submitted and is not of this matrix: that, and what there is."""
    alone = [run.planned for run in runs if run.stages[0].untrained_parent]
    if not alone:
        return []
    here = {run.run_id for run in matrix.runs}
    there = {row.run_id: row.spec for row in queries.runs(store)}
    return [
        f"{run.name} extends the run of {_length(parent)} with the same other fields, which was never submitted "
        f"from this home and is not submitted with it; {_nearest(run, there)}"
        for run in alone
        if (parent := lineage.parent(run.run)) and run_id(parent) not in here | there.keys()
    ]


def _nearest(run: PlannedRun, there: Mapping[str, Any]) -> str:
    """Which runs of this home it could extend: the same ones of other lengths, else the one that differs least."""
    wanted = _fields(run.run)
    runs = {run_id: spec for run_id, spec in ((run_id, _spec(spec)) for run_id, spec in there.items()) if spec}
    found = {run_id: _fields(spec) for run_id, spec in runs.items()}
    differences = {
        run_id: sorted(path for path in wanted.keys() | fields.keys() if wanted.get(path) != fields.get(path))
        for run_id, fields in found.items()
    }
    if lengths := sorted(_length(runs[run_id]) for run_id, paths in differences.items() if not paths):
        return f"there is one of {' and one of '.join(lengths)}"
    if not found:
        return "there are no runs at all"
    nearest = min(differences, key=lambda run_id: len(differences[run_id]))
    values = [
        f"{schema(Run).short(path)} {format_value(found[nearest].get(path))}, here {format_value(wanted.get(path))}"
        for path in differences[nearest][:3]
    ]
    return f"the nearest, {nearest}, has {'; '.join(values)}"


def _spec(stored: Any) -> Run | None:
    """None for one that an older version wrote and this one can't read."""
    try:
        return msgspec.convert(stored, Run)
    except msgspec.ValidationError:
        return None


def _length(run: Run) -> str:
    own = f"{run.epochs:g} epoch{'s' * (run.epochs != 1)}"
    return f"{own} (extends: [{', '.join(f'{length:g}' for length in run.extends)}])" if run.extends else own


def _fields(run: Run) -> dict[tuple[str, ...], Any]:
    return {path: value for path, value in flatten(run) if path[0] not in _LENGTHS}
