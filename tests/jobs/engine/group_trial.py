"""One process of a group that evaluates a run together: `python group_trial.py FOLDER RANK WORLD [STOP]`.

With STOP, the number of a process, that one is asked to stop at its second batch. SCARCE in the environment is the
number of a process with too little memory for PGD on more than 20 images at a time.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from experiments.benchmarks import AnyBenchmark, Clean, Information, Pgd
from experiments.spec import Adam, Ceb, Data, Run, SmallCnn
from jobs.engine.evaluation import evaluate
from jobs.engine.evaluation.evaluators import pgd
from jobs.errors import Stopped
from jobs.journal.files import Journal
from jobs.paths import RunPaths

RUN = Run(
    data=Data(name="digits"),
    network=SmallCnn(width=4, z_dim=6),
    objective=Ceb(rho=1),
    optimiser=Adam(),
    epochs=1,
    batch=32,
)
BENCHMARKS: list[AnyBenchmark] = [
    Clean(),
    Information(samples=2),
    Pgd(norm="l2", eps=9),  # larger than the range: the others go on
    Pgd(norm="linf", eps=0.1, steps=2, target="random", subset=230),
]


SEARCH = pgd.search


def scarce(logits_of: Any, x_BCHW: torch.Tensor, *args: Any, **more: Any) -> Any:
    if len(x_BCHW) > 20:
        raise MemoryError
    return SEARCH(logits_of, x_BCHW, *args, **more)


def main(folder: str, rank: int, world: int, stop: int | None) -> None:
    """Evaluate as one of the group; 0 if it was stopped, else 2 for the benchmark that can't be run."""
    torch.set_num_threads(1)
    evaluate._batch_size = lambda images: 50
    if os.environ.get("SCARCE") == str(rank):
        pgd.search = scarce
    paths = RunPaths(Path(folder))
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{paths.folder}/group.{stop}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    journal = Journal(paths.journal("evaluate", 1)) if rank == 0 else None
    asked = iter([False, rank == stop])
    try:
        evaluate.evaluate(
            RUN, BENCHMARKS, paths, journal, paths.folder, "cpu", lambda: next(asked, rank == stop), "engine 1"
        )
    except Stopped:
        sys.exit(0)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if sys.argv[4:] else None)
    except evaluate.InputError as error:
        print(error)
        sys.exit(2)
