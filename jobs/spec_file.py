"""The resolved spec in a run's folder, whose identity has to be the folder's name."""

from __future__ import annotations

import msgspec

from experiments.errors import InputError
from experiments.identity import run_id
from experiments.regular_files import read_regular
from experiments.spec import Run
from jobs.paths import RunPaths


def read(paths: RunPaths) -> Run:
    """Read the spec of a run. Raises InputError if it is missing, is damaged or is another run's."""
    try:
        run = msgspec.json.decode(read_regular(paths.spec), type=Run)
    except OSError as error:
        raise InputError(paths.spec, f"can't be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise InputError(paths.spec, f"is damaged: {error}", "remove it; `cebctl submit` writes it again") from None
    return check_run_id(run, paths)


def check_run_id(run: Run, paths: RunPaths) -> Run:
    """Return the spec itself. Raises InputError if its identity is not the name of the folder."""
    if (identity := run_id(run)) != paths.run_id:
        raise InputError(paths.folder, f"is given the spec of run {identity}", "remove the spec, or move it there")
    return run
