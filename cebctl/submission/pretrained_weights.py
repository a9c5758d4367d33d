"""Published weights in a hub's cache, taken into the home by the submission of the runs that begin with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from experiments import pretrained
from experiments.atomic_files import replacing, sweep
from experiments.errors import InputError
from experiments.spec import Run
from jobs.paths import Home


def weights_file(run: Run, home: Home) -> Path | None:
    """Return the file of a run's weights, in the home or else in the hub's cache; None if neither has it."""
    path = home.weights(str(run.weights))
    return path if path.exists() else pretrained.file_of(run)


def take_into_home(runs: Iterable[Run], home: Home) -> None:
    """Copy the weights of these runs that the home lacks and a hub's cache has.

    Raises InputError for a file that is not what its name in the cache says.
    """
    sweep(home.weights("").parent)  # parts that killed imports and submissions left
    for run in {run.weights: run for run in runs if run.weights}.values():
        path, file = home.weights(str(run.weights)), weights_file(run, home)
        if file in (path, None):
            continue
        data = file.read_bytes()
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != run.weights:
            raise InputError(file, "is damaged: its content is not that of its digest", "download it again")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
