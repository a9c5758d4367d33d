"""What a checkpoint costs training: the copy it waits for, and the write that a thread does meanwhile.

    python benchmarks/checkpoint.py [--blocks 4] [--width 10] [--folder DIR] [--rounds 7]

The state of a Wide ResNet with ceb and Adam after one step, saved again and again in DIR (by default a temporary
folder), fsync included. Wall time, medians and range.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from experiments.spec import Adam, Ceb, Data, Run, WideResNet
from jobs.engine import checkpoint_format
from jobs.engine.training.train_state import TrainState, initial_state
from jobs.processes import keep_memory

T = TypeVar("T")


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as a job does
    state = after_a_step(WideResNet(blocks=asked.blocks, width=asked.width))
    seconds: dict[str, list[float]] = {"the copy": [], "the write": []}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for number in range(asked.rounds):
            content = timed(state.content, seconds["the copy"])
            path = timed(partial(checkpoint_format.write, Path(folder), number, content), seconds["the write"])
            del content  # as the thread does once it is written
        megabytes = path.stat().st_size / 1e6
    print(f"| {megabytes:,.0f} MB | seconds | least | most |\n| --- | ---: | ---: | ---: |")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")


def after_a_step(network: WideResNet) -> TrainState:
    """With all that Adam keeps."""
    run = Run(data=Data(name="cifar10"), network=network, objective=Ceb(rho=3), optimiser=Adam(), epochs=1, batch=16)
    state = initial_state(run, torch.arange(10), "cpu")
    for parameter in state.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.optimiser.step()
    return state


def timed(work: Callable[[], T], seconds: list[float]) -> T:
    """What it returns; its time is noted."""
    before = time.perf_counter()
    done = work()
    seconds.append(time.perf_counter() - before)
    return done


if __name__ == "__main__":
    main()
