"""Weights that a run starts from instead of its seed's: see `experiments.lineage`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from experiments import lineage
from experiments.errors import InputError
from experiments.identity import run_id
from experiments.spec import Run, Sha256
from jobs import file_ownership
from jobs.engine import checkpoint_format, foreign_weights, weights_file
from jobs.engine.checkpoint_format import LoadedCheckpoint
from jobs.engine.models import build_without_weights
from jobs.engine.training.train_state import RESTORED, TrainState
from jobs.journal.history import is_trained, newest_complete
from jobs.paths import RunPaths


def load_initial(state: TrainState, paths: RunPaths) -> LoadedCheckpoint | None:
    """Return the checkpoint to restore where the run has none of its own yet; None to start from the fresh state.

    Raises InputError if the run it extends is not trained or has no checkpoint any more, or if the imported file is
    missing, is another one, or does not fit the network.
    """
    extended = lineage.parent(state.run)
    if extended is not None:
        return _last_checkpoint(extended, newest_complete(paths.beside(run_id(extended))))
    return _imported(state, state.run.weights, paths) if state.run.weights else None


def _last_checkpoint(run: Run, paths: RunPaths) -> LoadedCheckpoint:
    place = f"the run {paths.run_id} of {run.epochs:g} epochs, which this one extends"
    if not is_trained(paths):
        raise InputError(place, "it is not trained", "train it first")
    loaded = checkpoint_format.load_newest(run, paths.checkpoints, keys=RESTORED)
    if loaded is None:
        raise InputError(place, f"it has no intact checkpoint in {paths.checkpoints} any more")
    return loaded


def _imported(state: TrainState, digest: Sha256, paths: RunPaths) -> LoadedCheckpoint:
    """Return the fresh state with the imported weights."""
    path = paths.weights(digest)
    weights = foreign_weights.adapted(weights_file.read(_read(path, digest), path), state.run, state.model, path)
    weights_file.load_into(state.model, weights, path)
    if state.average is not None:
        state.average.reset()
    return LoadedCheckpoint(step=0, file=path, state=state.content())


def check_imported(run: Run, path: Path) -> None:
    """Raise InputError if the file of imported weights in a home does not fit the network of the run."""
    model = build_without_weights(run)
    weights = foreign_weights.adapted(weights_file.read(_read(path, str(run.weights)), path), run, model, path)
    weights_file.check_fits(model.state_dict(), weights, path)


def _read(path: Path, digest: str) -> bytes:
    """Return the bytes of an imported file. Raises InputError if it is not there, or is another one."""
    try:
        with path.open("rb") as file:
            file_ownership.check_owner(path, os.fstat(file.fileno()).st_uid)
            data = file.read()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "`cebctl import FILE` takes it into the home") from None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise InputError(path, "has changed since it was imported", "import it again")
    return data
