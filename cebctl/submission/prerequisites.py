"""What has to be at hand before anything is submitted: data, checkpoints, imported weights, runs to extend."""

from __future__ import annotations

from collections.abc import Sequence

from cebctl.status.rerun import Rerun
from cebctl.status.states import RunStatus
from cebctl.submission.executors import StagesToSubmit
from cebctl.submission.parents import missing_parents
from cebctl.submission.submit import pending_stages
from experiments import lineage
from experiments.errors import InputError
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import checkpoint_files
from jobs.datasets import download
from jobs.journal import history
from jobs.paths import Home, data_folder
from store.connect import Store


def check_prerequisites(
    matrix: Matrix,
    runs: Sequence[RunStatus],
    store: Store,
    home: Home,
    *,
    retry_failed: bool,
    again: Rerun | None = None,
) -> None:
    """Raise InputError if the data set, the checkpoint, the weights or the shorter run that a run to be submitted needs
    are not at hand.

    Writes nothing."""
    if alone := missing_parents(matrix, runs, store):
        raise InputError(matrix.path, alone[0] + _others(alone))
    offered = pending_stages(runs, retry_failed=retry_failed, again=again)
    _check_checkpoints(offered, home)
    needed = {run.planned.run_id for run, _ in offered}
    for run in matrix.runs:
        if run.run_id in needed and run.run.weights and not home.weights(run.run.weights).exists():
            wrong = f"the home {home.folder} has no such weights"
            raise InputError(f"{run.name}: {run.run.weights}", wrong, "`cebctl import FILE` takes them into it")
    _check_weights([run.planned for run, stage in offered if stage.stage == "train"], home)
    for data in {run.run.data.name for run in matrix.runs if run.run_id in needed}:
        there = download.dataset_status(data, data_folder())
        if there.state != "ready":
            raise InputError(f"data set {data}", f"{there.state}: {there.detail}")


def _check_weights(runs: Sequence[PlannedRun], home: Home) -> None:
    """Raise InputError if imported weights do not fit the networks of the runs: now, not in their jobs."""
    networks = {}
    for planned in runs:
        run = planned.run
        if run.weights:
            parts = (run.data.name, run.network, type(run.objective), getattr(run.objective, "marginal", None))
            networks[(run.weights, run.precision, *parts)] = planned
    for planned in networks.values():
        from jobs.engine.training import initial_weights as engine  # torch takes seconds

        engine.check_imported(planned.run, home.weights(str(planned.run.weights)))


def _others(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _check_checkpoints(offered: StagesToSubmit, home: Home) -> None:
    to_train = {run.planned.run_id for run, stage in offered if stage.stage == "train"}
    trained = [run.planned for run, _ in offered if run.planned.run_id not in to_train]
    needed = [(run.name, run.run_id, "no further benchmark can run on it") for run in trained]
    needed += [
        (f"what {run.planned.name} extends", extended, "it can't go on from there")
        for run, stage in offered
        if stage.stage == "train" and not stage.untrained_parent and (extended := lineage.parent_id(run.planned.run))
        if not any(checkpoint_files.newest_first(home.run(run.planned.run_id, stage.generation).checkpoints))
    ]
    bare = [one for one in needed if not _has_checkpoint(home, one[1])]
    if bare:
        name, missing_id, so = bare[0]
        raise InputError(
            home.run(missing_id).checkpoints,
            f"{name}{_others(bare)} is trained, but its checkpoints were removed (by `cebctl gc --keep none`?), "
            f"so that {so}",
            "leave it out by --only, or train it again: `cebctl submit MATRIX --again train`",
        )


def _has_checkpoint(home: Home, run_id: str) -> bool:
    return any(checkpoint_files.newest_first(history.newest_complete(home.run(run_id)).checkpoints))
