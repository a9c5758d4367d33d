"""Trained networks in a user's own program: `cebctl.load_model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cebctl.status.find_run import find_run_id
from cebctl.status.home_matrix import load
from experiments.errors import InputError
from jobs.paths import Home, RunPaths
from store import queries
from store.read_only import read_only

if TYPE_CHECKING:
    from jobs.engine.classifier import Classifier


def load_model(run: str, *, matrix: str | Path | None = None, home: str | Path | None = None) -> Classifier:
    """Return the deterministic classifier of a trained run, in eval mode and on the CPU.

        model = cebctl.load_model("r758dcf")
        model.logits(images), model.encode(images)       # images in [0, 1]: the normalisation is inside

    `run` is an id or the beginning of one, or a name, among the runs of a `matrix` or else all of the home; `home` is
    the command line's by default. Raises InputError if that is no run, or several, or one that is not trained.
    """
    paths = find_run_paths(run, open_home_folder(home), matrix)
    from jobs.engine import classifier  # torch takes seconds to import

    return classifier.load(paths)


def open_home_folder(home: str | Path | None) -> Home:
    """Return a home by its folder, or the command line's. Raises InputError if there is none."""
    chosen = Home.at(home)
    if not chosen.folder.is_dir():
        raise InputError(chosen.folder, "there is no home", "name one by home=…, or set CEBCTL_HOME")
    return chosen


def find_run_paths(run: str, home: Home, matrix: str | Path | None = None) -> RunPaths:
    """Return the folder of a run, by its id or name as `load_model` takes them."""
    if matrix is not None:
        planned = load(Path(matrix), home)
        runs = {run.run_id: (run.name, msgspec.to_builtins(run.run)) for run in planned.runs}
        return home.run(find_run_id(run, runs, planned.path))
    with read_only(home) as store:
        runs = {row.run_id: (row.label, row.spec) for row in queries.runs(store)}
    return home.run(find_run_id(run, runs, home.folder))
