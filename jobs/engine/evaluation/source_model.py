"""The trained network of another run, for examples that are made on it."""

from __future__ import annotations

from experiments import own_dataset
from experiments.errors import InputError
from experiments.spec import Run
from jobs import spec_file
from jobs.engine import checkpoint_format
from jobs.engine.errors import NoCheckpointError
from jobs.engine.models import CebModel
from jobs.journal.history import is_trained, newest_complete
from jobs.paths import RunPaths


def load(run_id: str, tested: Run, paths: RunPaths, device: str) -> CebModel:
    """Return the model of `run_id`, which lies beside the run of `paths`, on the device in eval mode.

    Its own terminal record decides whether it is trained. Raises InputError if it is not, if it has no checkpoint
    any more or another run's, or if it was trained on other images than the tested run.
    """
    source, place = newest_complete(paths.beside(run_id)), f"the source {run_id} of transfer"
    if not is_trained(source):
        raise InputError(place, "it is not trained", "train it first; its evaluations are submitted then")
    run = spec_file.read(source)
    if not own_dataset.is_same(run.data.name, tested.data.name):
        raise InputError(place, f"it was trained on {run.data.name}, not on {tested.data.name}")
    try:
        return checkpoint_format.load_model(run, source.checkpoints).model.to(device)
    except NoCheckpointError as error:
        raise InputError(place, str(error)) from None
