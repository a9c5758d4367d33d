"""A training step of the engine against a bare loop, and CEB's head against xent's: ratios of one run.

    python benchmarks/step.py [--device cpu] [--rounds 9] [--only TEXT]

`bare` is what one would write by hand for the same network, batch, precision, memory layout, optimiser and images
(synthetic, as uint8 in memory): no journal, metrics, schedules or checkpoints, noise from torch's generator, and for
ceb no rate and no marginal, which the engine measures and trains beside. Ours is the loop of `jobs.engine.train` with
all that; so is the second table's, for the two objectives.

Both take as many steps in turn, round for round, in one process and, on a CPU, on one thread and in CPU time. The
ratio is the median over the rounds, with the range of its middle half.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from experiments import datasets
from experiments.spec import Ceb, Data, GammaJumpStart, Run, Sgd, SmallCnn, WideResNet, Xent
from jobs.engine.attacks.layout import quick
from jobs.engine.data.images import MemoryImages
from jobs.engine.length import Length
from jobs.engine.models import build
from jobs.engine.state import initial
from jobs.engine.train import Training
from jobs.journal import Journal

ROUNDS_BEFORE = 2
"""To warm up."""
XENT, CEB = Xent(), Ceb(rho=3, jump_start=GammaJumpStart(steps=1))


@dataclass(frozen=True)
class Workload:
    """A network on images like those of a data set, and how many steps make a round."""

    name: str
    data: Any
    network: SmallCnn | WideResNet
    batch: int
    steps: int

    def run(self, objective: Xent | Ceb) -> Run:
        optimiser = Sgd(lr=1e-3, weight_decay=1e-4)
        return Run(data=Data(name=self.data), network=self.network, objective=objective, optimiser=optimiser,
                   epochs=10_000, batch=self.batch)  # fmt: skip

    def images(self) -> MemoryImages:
        info = datasets.info(self.data)
        count = self.batch * self.steps
        generator = torch.Generator().manual_seed(0)
        shape = (count, info.channels, info.size, info.size)
        images_NCHW = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        labels_N = torch.randint(info.classes, (count,), generator=generator)
        return MemoryImages(info, "train", "synthetic", labels_N, images_NCHW)


AGAINST_BARE = [
    Workload("small_cnn 32, digits, batch 256", "digits", SmallCnn(width=32), 256, 30),
    Workload("wide_resnet 10x1, CIFAR-10, batch 64", "cifar10", WideResNet(blocks=1, width=1), 64, 5),
    Workload("wide_resnet 16x2, CIFAR-10, batch 64", "cifar10", WideResNet(blocks=2, width=2), 64, 2),
]
HEADS = [
    Workload("wide_resnet 10x1, CIFAR-10, batch 64", "cifar10", WideResNet(blocks=1, width=1), 64, 5),
    Workload("wide_resnet 28x10, CIFAR-10, batch 16", "cifar10", WideResNet(blocks=4, width=10), 16, 1),
]


def main() -> None:
    """Measure, and print two Markdown tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="workloads with this in their names")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print("| network | objective | ms per step, ours | bare | our throughput over the bare loop's |")
        print("| --- | --- | ---: | ---: | ---: |")
        for workload in (one for one in AGAINST_BARE if asked.only in one.name):
            for name, objective in (("xent", XENT), ("ceb", CEB)):
                run = workload.run(objective)
                loops = [ours(run, workload, asked.device, Path(folder)), bare(run, workload, asked.device)]
                found = timed(loops, asked.rounds, asked.device)
                print(f"| {workload.name} | {name} | {cells(found, workload.steps)} |", flush=True)
        print("\n| network | ms per step, xent | ceb | ceb's step over xent's |")
        print("| --- | ---: | ---: | ---: |")
        for workload in (one for one in HEADS if asked.only in one.name):
            loops = [ours(workload.run(objective), workload, asked.device, Path(folder)) for objective in (XENT, CEB)]
            found = timed(loops, asked.rounds, asked.device)
            print(f"| {workload.name} | {cells(found, workload.steps)} |", flush=True)


def ours(run: Run, workload: Workload, device: str, folder: Path) -> Callable[[], None]:
    """One epoch of the engine's loop at each call, never the last one, and with no checkpoint due."""
    images = workload.images()
    state = initial(run, images.labels_N, device)
    journal = Journal(folder / f"{time.monotonic_ns()}.jsonl")
    training = Training(state, images, Length(run, len(images)), journal, folder, device, checkpoint_seconds=1e9)
    return lambda: training.epoch(lambda: False)


def bare(run: Run, workload: Workload, device: str) -> Callable[[], None]:
    """As many steps of the loop written by hand."""
    images, model = workload.images(), build(run).to(device).train()
    optimiser = SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)
    gamma = 2.718281828**-3

    def epoch() -> None:
        for indices_B in torch.split(torch.randperm(len(images)), run.batch):
            x_BCHW = quick(images.images_NCHW[indices_B].to(device).float().div_(255))
            y_B = images.labels_N[indices_B].to(device)
            f_BZ = model.encode(x_BCHW)
            if model.backward_encoder is None:
                loss = cross_entropy(model.classifier(f_BZ), y_B)
            else:
                noise_BZ = torch.randn_like(f_BZ)
                away_BZ = f_BZ - model.backward_encoder.means()[y_B]
                residual = 0.5 * (away_BZ * (away_BZ + 2 * noise_BZ)).sum(dim=1).mean()
                loss = cross_entropy(model.classifier(f_BZ + noise_BZ), y_B) + gamma * residual
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

    return epoch


def timed(loops: Sequence[Callable[[], None]], rounds: int, device: str) -> list[list[float]]:
    """Seconds of each loop in each round, the loops in turn and every other round backwards."""
    seconds: list[list[float]] = [[] for _ in loops]
    for number in range(-ROUNDS_BEFORE, rounds):
        order = range(len(loops)) if number % 2 else reversed(range(len(loops)))
        for loop in order:
            spent = _time(loops[loop], device)
            if number >= 0:
                seconds[loop].append(spent)
    return seconds


def cells(seconds: Sequence[Sequence[float]], steps: int) -> str:
    """Each loop's milliseconds per step, and the time of the second over that of the first."""
    times = " | ".join(f"{statistics.median(one) / steps * 1e3:,.1f}" for one in seconds)
    low, middle, high = statistics.quantiles(b / a for a, b in zip(*seconds, strict=True))
    return f"{times} | {middle:.3f} ({low:.3f} … {high:.3f})"


def _time(loop: Callable[[], None], device: str) -> float:
    """Seconds; on a CPU of this process alone, so that other work on the machine counts little."""
    if torch.device(device).type != "cuda":
        began = time.process_time()
        loop()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    loop()
    torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
