"""One process of a group that trains with its network compiled:
`python -m tests.jobs.engine.training.compiled_trial FOLDER RANK WORLD`. Started, not forked: in a forked process
torch's compiler may abort."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.resources import Execution
from jobs.paths import RunPaths
from tests.jobs.engine.training.test_distributed import COMPILED, one_of

if __name__ == "__main__":
    folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.exit(one_of(rank, world, COMPILED, RunPaths(folder), 1, execution=Execution(compile="default")))
