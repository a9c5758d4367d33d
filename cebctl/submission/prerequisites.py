"""The prerequisites of a submission: data sets, checkpoints, imported weights, runs to extend."""

from __future__ import annotations

from collections.abc import Sequence

from cebctl.status.rerun import Rerun
from cebctl.status.states import RunStatus
from cebctl.submission.executors import StagesToSubmit
from cebctl.submission.needed_data import evaluation_data
from cebctl.submission.parents import missing_parents
from cebctl.submission.pretrained_weights import weights_file
from cebctl.submission.submit import pending_stages
from experiments import lineage
from experiments.batch_norm import single_value
from experiments.benchmarks import describe
from experiments.errors import InputError
from experiments.matrix.planned_run import Matrix
from jobs import checkpoint_files
from jobs.datasets.dataset_status import dataset_status
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
    """Raise InputError if a data set, a checkpoint, weights or a parent that a run to be submitted needs is missing, or
    the images of a benchmark to be submitted.

    Writes nothing."""
    if messages := missing_parents(matrix, runs, store):
        raise InputError(matrix.path, messages[0] + _and_more(messages))
    stages = pending_stages(runs, retry_failed=retry_failed, again=again)
    check_batch_norm(matrix, stages)
    _check_checkpoints(stages, home)
    run_ids = {run.planned.run_id for run, _ in stages}
    for run in matrix.runs:
        if run.run_id in run_ids and run.run.weights and weights_file(run.run, home) is None:
            wrong = f"the home {home.folder} has no such weights"
            raise InputError(f"{run.name}: {run.run.weights}", wrong, "`cebctl import FILE` takes them into it")
    for data in {run.run.data.name for run in matrix.runs if run.run_id in run_ids}:
        dataset = dataset_status(data, data_folder(), count=any(s.stage == "train" for _, s in stages))
        if dataset.state != "ready":
            raise InputError(f"data set {dataset.name}", f"{dataset.state}: {dataset.detail}")
    _check_images(stages)


def _check_images(stages: StagesToSubmit) -> None:
    """Raise InputError if a run would be trained, or an evaluation begin, whose benchmarks miss their images."""
    evaluations = [(run.planned, stage.missing) for run, stage in stages]
    absent = [needed for needed in evaluation_data(evaluations, data_folder()) if needed.status.state != "ready"]
    if absent:
        status, names = absent[0].status, dict.fromkeys(needed.status.name for needed in absent)
        of_it = [describe(b) for needed in absent if needed.status.name == status.name for b in needed.benchmarks]
        consequence = f"so that {', '.join(dict.fromkeys(of_it))} can't be measured{_and_more(list(names))}"
        wrong = f"{status.state}, {consequence}: {status.detail}"
        raise InputError(f"test set {status.name}", wrong, "`--without missing` submits all else")


def check_batch_norm(matrix: Matrix, stages: StagesToSubmit) -> None:
    """Raise InputError if a run to be trained leaves BatchNorm one value per channel on one of its GPUs."""
    for status, stage in stages:
        planned = status.planned
        gpus = matrix.resources(planned, "train").gpus
        if stage.stage == "train" and (wrong := single_value(planned.run, gpus)):
            allowed = f"allowed: at most {planned.run.batch // 2} GPUs, or `batch_norm: sync`"
            raise InputError(f"{matrix.path}: {planned.name}", f"{wrong} on one of {gpus} GPUs", allowed)


def _and_more(items: Sequence[object]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def _check_checkpoints(stages: StagesToSubmit, home: Home) -> None:
    """Raise InputError if a run that is only evaluated, or the parent of one to be trained, has no checkpoint left."""
    to_train = {run.planned.run_id for run, stage in stages if stage.stage == "train"}
    trained = [run.planned for run, _ in stages if run.planned.run_id not in to_train]
    required = [(run.name, run.run_id, "no further benchmark can run on it") for run in trained]
    required += [
        (f"what {run.planned.name} extends", parent_id, "it can't go on from there")
        for run, stage in stages
        if stage.stage == "train" and not stage.untrained_parent and (parent_id := lineage.parent_id(run.planned.run))
        # One that has checkpoints of its own goes on from those.
        if not any(checkpoint_files.newest_first(home.run(run.planned.run_id, stage.generation).checkpoints))
    ]
    missing = [
        row
        for row in required
        if not any(checkpoint_files.newest_first(history.newest_complete(home.run(row[1])).checkpoints))
    ]
    if missing:
        name, run_id, consequence = missing[0]
        raise InputError(
            home.run(run_id).checkpoints,
            f"{name}{_and_more(missing)} is trained, but its checkpoints were removed (by `cebctl gc --keep none`?), "
            f"so that {consequence}",
            "leave it out by --only, or train it again: `cebctl submit MATRIX --again train`",
        )
