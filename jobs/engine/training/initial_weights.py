"""What a run begins with that does not begin with its seed: see `experiments.lineage`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from experiments import lineage
from experiments.errors import InputError
from experiments.identity import run_id
from experiments.spec import Run, Sha256
from jobs import file_ownership
from jobs.engine import checkpoint_format, weights_file
from jobs.engine.checkpoint_format import Loaded
from jobs.engine.models import build
from jobs.engine.training.train_state import State
from jobs.journal.history import is_trained, newest_complete
from jobs.paths import RunPaths


def first(state: State, paths: RunPaths) -> Loaded | None:
    """What to restore where the run has no checkpoint of its own yet; None to begin with the fresh state.

    Raises InputError if the run it extends is not trained or has no checkpoint any more, or if the imported file is not
    there, is another one, or does not fit the network.
    """
    extended = lineage.parent(state.run)
    if extended is not None:
        return _last_of(extended, newest_complete(paths.beside(run_id(extended))))
    return _imported(state, state.run.weights, paths) if state.run.weights else None


def _last_of(run: Run, paths: RunPaths) -> Loaded:
    where = f"the run {paths.run_id} of {run.epochs:g} epochs, which this one extends"
    if not is_trained(paths):
        raise InputError(where, "it is not trained", "train it first")
    loaded = checkpoint_format.load_newest(run, paths.checkpoints)
    if loaded is None:
        raise InputError(where, f"it has no intact checkpoint in {paths.checkpoints} any more")
    return loaded


def _imported(state: State, digest: Sha256, paths: RunPaths) -> Loaded:
    """The imported weights in a state that is otherwise as fresh."""
    path = paths.weights(digest)
    weights_file.fit(state.model, weights_file.read(_read(path, digest), path), path)
    return Loaded(step=0, file=path, state=state.content())


def check_imported(run: Run, path: Path) -> None:
    """Raise InputError if the file of imported weights in a home does not fit the network of the run."""
    with torch.device("meta"):
        wanted = build(run).state_dict()
    weights_file.check(wanted, weights_file.read(_read(path, str(run.weights)), path), path)


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
