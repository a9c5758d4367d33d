"""Tells whether imported weights fit the networks of runs, without computing anything.

python -m jobs.engine.weights_check < pairs.json    pairs of a run and a file; exit code 1 and the first misfit
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from experiments.errors import InputError
from experiments.spec import Run
from jobs.engine.training.initial_weights import check_imported


def main() -> None:
    """Read the pairs from standard input."""
    for run, path in msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[Run, str]]):
        try:
            check_imported(run, Path(path))
        except InputError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
