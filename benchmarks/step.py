"""A training step of the engine against a bare loop, CEB's head against xent's, and settings: ratios of one run.

    python benchmarks/step.py [--device cpu] [--rounds 9] [--only TEXT] [--settings]

`bare` is what one would write by hand for the same network, batch, precision, memory layout, optimiser and images
(synthetic, as uint8 in memory): no journal, metrics, schedules or checkpoints, noise from torch's generator. For ceb
there are two: one trains the marginal and measures the rate as the engine does, one does without. Ours is the loop of
`jobs.engine.training.loop` with all that; so is the second table's, for the two objectives. `--settings` prints another
table instead: the engine's loop with each choice of precision and of
`experiments.resources.Execution`, and without.

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
from measure import head, in_turn, row, seconds
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from experiments import datasets
from experiments.resources import Execution
from experiments.spec import Adam, Ceb, Data, GammaJumpStart, Run, Sgd, SmallCnn, WideResNet, Xent
from jobs.engine.attacks.memory_format import quick
from jobs.engine.data.images import MemoryImages
from jobs.engine.models import build
from jobs.engine.precision import training_precision
from jobs.engine.training.async_checkpointer import AsyncCheckpointer
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.loop import Training
from jobs.engine.training.train_state import DEFAULT, initial_state
from jobs.journal.files import Journal
from jobs.processes import keep_memory

ROUNDS_BEFORE = 2
"""To warm up."""
LOG_2_PI = 1.8378770664093453
XENT, CEB = Xent(), Ceb(rho=3, jump_start=GammaJumpStart(steps=1))
SGD_SPEC = Sgd(lr=1e-3, weight_decay=1e-4)


@dataclass(frozen=True)
class Workload:
    """A network on images like those of a data set, and how many steps make a round."""

    name: str
    data: Any
    network: SmallCnn | WideResNet
    batch: int
    steps: int

    def run(self, objective: Xent | Ceb, optimiser: Sgd | Adam = SGD_SPEC, precision: Any = "fp32") -> Run:
        return Run(data=Data(name=self.data), network=self.network, objective=objective, optimiser=optimiser,
                   epochs=10_000, batch=self.batch, precision=precision)  # fmt: skip

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


@dataclass(frozen=True)
class Setting:
    """A choice, and what it is compared with: fields of `Execution`, or a precision."""

    name: str
    with_it: Execution = DEFAULT
    without: Execution = DEFAULT
    precision: str = "fp32"
    optimiser: Sgd | Adam = SGD_SPEC
    on: str = ""
    """The only kind of device that has it."""


SETTINGS = [
    Setting("compile: default", Execution(compile="default")),
    Setting("compile: reduce-overhead", Execution(compile="reduce-overhead"), on="cuda"),
    Setting("channels_last: true", Execution(channels_last=True), Execution(channels_last=False)),
    Setting("precision: bf16", precision="bf16"),
    Setting("precision: tf32", precision="tf32", on="cuda"),
    Setting("update: foreach, sgd", Execution(update="foreach"), Execution(update="for-loop")),
    Setting("update: fused, sgd", Execution(), Execution(update="for-loop")),
    Setting("update: foreach, adam", Execution(update="foreach"), Execution(update="for-loop"), optimiser=Adam()),
    Setting("update: fused, adam", Execution(), Execution(update="for-loop"), optimiser=Adam()),
]


def main() -> None:
    """Measure, and print two Markdown tables, or the one of the settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="workloads with this in their names")
    parser.add_argument("--settings", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as a job does; of no less use to the bare loop
    if asked.settings:
        settings(asked.device, asked.rounds, asked.only)
        return
    with tempfile.TemporaryDirectory() as folder:
        head("network", "objective", "ms per step, ours", "bare", "our throughput over the bare loop's", words=2)
        for workload in (one for one in AGAINST_BARE if asked.only in one.name):
            for name, objective, marginal in (("xent", XENT, False), ("ceb", CEB, True), ("ceb", CEB, False)):
                run = workload.run(objective)
                loops = [ours(run, workload, asked.device, Path(folder)), bare(run, workload, asked.device, marginal)]
                found = timed(loops, asked.rounds, asked.device)
                objective_name = name if marginal or objective is XENT else f"{name}, bare without the marginal"
                row(workload.name, objective_name, *cells(found, workload.steps))
        print()
        head("network", "ms per step, xent", "ceb", "ceb's step over xent's")
        for workload in (one for one in HEADS if asked.only in one.name):
            loops = [ours(workload.run(objective), workload, asked.device, Path(folder)) for objective in (XENT, CEB)]
            found = timed(loops, asked.rounds, asked.device)
            row(workload.name, *cells(found, workload.steps))


def settings(device: str, rounds: int, only: str) -> None:
    """The table of the settings, by ceb."""
    head("network", "setting", "ms per step, without", "with", "time with over without", words=2)
    with tempfile.TemporaryDirectory() as folder:
        for workload in (one for one in AGAINST_BARE if only in one.name):
            for setting in SETTINGS:
                if setting.on not in ("", torch.device(device).type):
                    continue
                runs = [workload.run(CEB, setting.optimiser, precision) for precision in ("fp32", setting.precision)]
                loops = [
                    ours(run, workload, device, Path(folder), execution)
                    for run, execution in zip(runs, (setting.without, setting.with_it), strict=True)
                ]
                found = timed(loops, rounds, device)
                row(workload.name, setting.name, *cells(found, workload.steps))


def ours(run: Run, workload: Workload, device: str, folder: Path, execution: Execution = DEFAULT) -> Callable[[], None]:
    """One epoch of the engine's loop at each call, never the last one, and with no checkpoint due."""
    images = workload.images()
    state = initial_state(run, images.labels_N, device, execution=execution)
    journal = Journal(folder / f"{time.monotonic_ns()}.jsonl")
    training = Training(
        state, images, EpochSampler(run, len(images)), journal, AsyncCheckpointer(state, folder, journal, 1e9), device
    )

    def epoch() -> None:
        with training_precision(run, device):
            training.train_epoch(lambda: False)

    return epoch


def bare(run: Run, workload: Workload, device: str, marginal: bool) -> Callable[[], None]:
    """As many steps of the loop written by hand; `marginal`: train it, and measure the rate."""
    images, model = workload.images(), build(run).to(device).train()
    others = [parameter for name, parameter in model.named_parameters() if not name.startswith("marginal")]
    optimisers: list[torch.optim.Optimizer] = [
        SGD(others, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)
    ]
    if marginal and model.marginal is not None:
        optimisers.append(torch.optim.Adam(model.marginal.parameters(), lr=1e-2, fused=True))
    gamma = 2.718281828**-3
    rates: list[float] = []

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
                if marginal and model.marginal is not None:
                    z_BZ = (f_BZ + noise_BZ).detach()
                    log_marginal = model.marginal.log_prob(z_BZ).mean()
                    log_encoder = -0.5 * (noise_BZ.square().sum(dim=1) + f_BZ.shape[1] * LOG_2_PI).mean()
                    rates.append(float(log_encoder - log_marginal.detach()))
                    loss = loss - log_marginal
            for optimiser in optimisers:
                optimiser.zero_grad()
            torch.autograd.backward(loss)
            for optimiser in optimisers:
                optimiser.step()

    return epoch


def timed(loops: Sequence[Callable[[], None]], rounds: int, device: str) -> list[list[float]]:
    """Seconds of each loop in each round."""
    return in_turn([lambda loop=loop: seconds(loop, device) for loop in loops], rounds, ROUNDS_BEFORE)


def cells(times: Sequence[Sequence[float]], steps: int) -> list[str]:
    """Each loop's milliseconds per step, and the time of the second over that of the first."""
    low, middle, high = statistics.quantiles(b / a for a, b in zip(*times, strict=True))
    spent = [f"{statistics.median(one) / steps * 1e3:,.1f}" for one in times]
    return [*spent, f"{middle:.3f} ({low:.3f} … {high:.3f})"]


if __name__ == "__main__":
    main()
