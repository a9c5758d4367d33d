"""Tells whether imported weights fit the networks of runs, without computing anything.

python -m jobs.engine.weights_check FOLDER < pairs.json    pairs of a run and a file; the first misfit is an error

The sources of networks of one's own are in FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from experiments.errors import CebctlError, InputError
from experiments.spec import Run
from jobs import own_parts
from jobs.engine.training.initial_weights import check_imported


def main(folder: Path) -> None:
    """Read the pairs from standard input."""
    own_parts.use_sources(folder)
    for run, path in msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[Run, str]]):
        try:
            check_imported(run, Path(path))
        except CebctlError as error:
            print(error, file=sys.stderr)
            sys.exit(InputError.exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
