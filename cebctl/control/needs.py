"""What has to be at hand before anything is submitted: data, checkpoints, imported weights, runs to extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from cebctl.control.senders import Offered
from cebctl.control.states import RunStatus
from cebctl.control.submit import due
from cebctl.control.survey import survey
from experiments import start
from experiments.errors import InputError
from experiments.fields import flatten, schema
from experiments.identity import run_id
from experiments.matrix import Matrix, PlannedRun, shown
from experiments.spec import Run
from jobs import checkpoints, fetch
from jobs.home import Home, data_folder
from store import queries
from store.opening import Store
from store.reader import read_only

_LENGTHS = ("epochs", "extends")


def check(matrix: Matrix, home: Home, *, retry_failed: bool) -> None:
    """Raise InputError if the data set, the checkpoint, the weights or the shorter run that a run to be submitted needs
    are not at hand.

    Writes nothing."""
    with read_only(home) as store:
        runs = survey(matrix, store, home, fresh=False)
        alone = orphans(matrix, runs, store)
    if alone:
        raise InputError(matrix.path, alone[0] + _others(alone))
    offered = due(runs, retry_failed=retry_failed)
    _check_checkpoints(offered, home)
    needed = {run.planned.run_id for run, _ in offered}
    for run in matrix.runs:
        if run.run_id in needed and run.run.weights and not home.weights(run.run.weights).exists():
            wrong = f"the home {home.folder} has no such weights"
            raise InputError(f"{run.name}: {run.run.weights}", wrong, "`cebctl import FILE` takes them into it")
    for data in {run.run.data.name for run in matrix.runs if run.run_id in needed}:
        there = fetch.present(data, data_folder())
        if there.state != "ready":
            raise InputError(f"data set {data}", f"{there.state}: {there.detail}")


def orphans(matrix: Matrix, runs: Iterable[RunStatus], store: Store) -> list[str]:
    """Of each run that extends one which was never submitted and is not of this matrix: that, and what there is."""
    alone = [run.planned for run in runs if run.stages[0].awaits]
    if not alone:
        return []
    here = {run.run_id for run in matrix.runs}
    there = {row.run_id: row.spec for row in queries.runs(store)}
    return [
        f"{run.name} extends the run of {_length(parent)} with the same other fields, which was never submitted "
        f"from this home and is not submitted with it; {_nearest(run, there)}"
        for run in alone
        if (parent := start.parent(run.run)) and run_id(parent) not in here | there.keys()
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
        f"{schema(Run).short(path)} {shown(found[nearest].get(path))}, here {shown(wanted.get(path))}"
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
    own = f"{run.epochs:g} epochs"
    return f"{own} (extends: [{', '.join(f'{length:g}' for length in run.extends)}])" if run.extends else own


def _fields(run: Run) -> dict[tuple[str, ...], Any]:
    return {path: value for path, value in flatten(run) if path[0] not in _LENGTHS}


def _others(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _check_checkpoints(offered: Offered, home: Home) -> None:
    to_train = {run.planned.run_id for run, stage in offered if stage.stage == "train"}
    trained = [run.planned for run, _ in offered if run.planned.run_id not in to_train]
    needed = [(run.name, run.run_id, "no further benchmark can run on it") for run in trained]
    needed += [
        (f"what {run.planned.name} extends", extended, "it can't go on from there")
        for run, stage in offered
        if stage.stage == "train" and not stage.awaits and (extended := start.parent_id(run.planned.run))
        if not _has_checkpoint(home, run.planned.run_id)
    ]
    bare = [one for one in needed if not _has_checkpoint(home, one[1])]
    if bare:
        name, missing_id, so = bare[0]
        raise InputError(
            home.run(missing_id).checkpoints,
            f"{name}{_others(bare)} is trained, but its checkpoints were removed (by `cebctl gc --keep none`?), "
            f"so that {so}",
            "leave it out by --only, or remove its run's folder, results included, to train it again",
        )


def _has_checkpoint(home: Home, run_id: str) -> bool:
    return any(checkpoints.newest_first(home.run(run_id).checkpoints))
