"""The code that a matrix brings to the machines it runs on, and the user's hook: for the eyes of whoever submits it.

Nothing else of a matrix is executed: it is data, and the code of the engine is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cebctl.status import state_hook
from experiments import datasets, own_dataset
from experiments.errors import InputError
from experiments.matrix.planned_run import Matrix
from experiments.resources import STAGES
from jobs.paths import Home
from store import queries
from store.connect import Store


@dataclass(frozen=True)
class MatrixCode:
    """One thing that is run, or that tells Slurm what to run. The fields are the keys of the JSON output."""

    kind: Literal["setup", "directive", "part", "data", "hook"]
    text: str
    """The line of shell, sbatch's option, the reference of a part, the data set and its reader, or the command."""

    def describe(self) -> str:
        """Return it in words."""
        return f"{_KINDS[self.kind]}: {self.text}"


_KINDS = {
    "setup": "line of shell before each job",
    "directive": "option of sbatch",
    "part": "part of one's own",
    "data": "reader of images",
    "hook": "command when runs change their state",
}


def matrix_code(matrix: Matrix, home: Home) -> list[MatrixCode]:
    """Return everything of a matrix that is run by its jobs or for them, each once, and the hook of the home."""
    return list(dict.fromkeys(_all_code(matrix, home)))


def _all_code(matrix: Matrix, home: Home) -> Iterator[MatrixCode]:
    for run in matrix.runs:
        for stage in STAGES:
            resources = matrix.resources(run, stage)
            yield from (MatrixCode("setup", line) for line in resources.setup)
            yield from (MatrixCode("directive", f"--{option}") for option in resources.directives)
    yield from (MatrixCode("part", part.reference) for part in matrix.parts)
    for name in dict.fromkeys(run.run.data.name for run in matrix.runs):
        try:
            described = own_dataset.read(name) if own_dataset.is_own(name) else None
        except InputError:  # `submit` and `doctor` say so
            continue
        if described and described.reader:
            yield MatrixCode("data", f"{datasets.info(name).name}, read by {described.reader.origin}")
    try:
        hook = state_hook.configured_hook(home)
    except InputError:  # `status` and `submit` say so
        return
    if hook:
        yield MatrixCode("hook", hook.describe())


def describe_first_submission(matrix: Matrix, store: Store, home: Home) -> str:
    """Return a line on the code of a matrix that was never submitted from this home; empty if it was."""
    path = str(matrix.path.absolute())
    if any(row.matrix_path == path for row in queries.submissions(store)):
        return ""
    described = [code.describe() for code in matrix_code(matrix, home) if code.kind != "hook"]
    brings = f"runs {len(described)} of its own: {'; '.join(described)}" if described else "brings no code of its own"
    return f"{matrix.path}: never submitted from here before; it {brings}"
