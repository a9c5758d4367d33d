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
        f"{run.name} extends the run of {run.run.extends[-1]:g} epochs with the same other fields, "
        f"which was never submitted from this home and is not submitted with it; {_nearest(run, there)}"
        for run in alone
        if run.run.extends and start.parent_id(run.run) not in here | there.keys()
    ]


def _nearest(run: PlannedRun, there: Mapping[str, Any]) -> str:
    """Which runs of this home it could extend: the same ones of other lengths, else the one that differs least."""
    wanted = _fields(run.run)
    found = {run_id: _fields(msgspec.convert(spec, Run)) for run_id, spec in there.items()}
    differences = {
        run_id: sorted(path for path in wanted.keys() | fields.keys() if wanted.get(path) != fields.get(path))
        for run_id, fields in found.items()
    }
    if lengths := sorted(there[run_id]["epochs"] for run_id, paths in differences.items() if not paths):
        return f"there is one of {' and one of '.join(f'{length:g}' for length in lengths)} epochs"
    if not found:
        return "there are no runs at all"
    nearest = min(differences, key=lambda run_id: len(differences[run_id]))
    values = [
        f"{schema(Run).short(path)} {shown(found[nearest].get(path))}, here {shown(wanted.get(path))}"
        for path in differences[nearest][:3]
    ]
    return f"the nearest, {nearest}, has {'; '.join(values)}"


def _fields(run: Run) -> dict[tuple[str, ...], Any]:
    return {path: value for path, value in flatten(run) if path[0] not in _LENGTHS}


def _others(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _check_checkpoints(offered: Offered, home: Home) -> None:
    to_train = {run.planned.run_id for run, stage in offered if stage.stage == "train"}
    trained = [run.planned for run, _ in offered if run.planned.run_id not in to_train]
    bare = [run for run in trained if not any(checkpoints.newest_first(home.run(run.run_id).checkpoints))]
    if bare:
        raise InputError(
            home.run(bare[0].run_id).checkpoints,
            f"{bare[0].name}{_others(bare)} is trained, but its checkpoints were removed "
            "(by `cebctl gc --keep none`?), so that no further benchmark can run on it",
            "leave it out by --only, or remove its run's folder, results included, to train it again",
        )
