"""Whole training: a small network on real images with its seconds, and several processes against one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch import distributed, multiprocessing

from benchmarks.gpu.results import Result, at_most, checked, distance, measured, skipped
from benchmarks.gpu.steps import DIGITS, data_root, synthetic, take_steps
from experiments import spec
from experiments.benchmarks import Clean
from experiments.errors import InputError
from jobs.engine import checkpoint_format
from jobs.engine.attacks.precision import full_precision
from jobs.engine.data import load
from jobs.engine.distributed import Group
from jobs.engine.evaluation.evaluate import measure
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext
from jobs.engine.training.loop import train
from jobs.journal.files import Journal
from jobs.paths import RunPaths

CIFAR = spec.Run(
    data=spec.Data(name="cifar10-jpeg", augment=spec.AutoAugment(policy="cifar10")),
    network=spec.WideResNet(blocks=1, width=4, norm="batch"),
    objective=spec.Ceb(rho=3.0, jump_start=spec.GammaJumpStart(steps=200)),
    optimiser=spec.Sgd(lr=0.1, weight_decay=5e-4),
    schedule=spec.Schedule(name="cosine", warmup_epochs=0.5, horizon_epochs=5.0, final_factor=0.0),
    epochs=5,
    batch=250,
    precision="bf16",
)
LEARNED = 0.4
"""The accuracy that is asked for; a constant prediction has 0.1. Two epochs of WRN-10-1, on a CPU, reached 0.35."""


def training(device: str, small: bool) -> Iterator[Result]:
    """Train WRN-10-4 on CIFAR-10 for five epochs, a small check a network on the digits, and evaluate it."""
    run = msgspec.structs.replace(DIGITS, epochs=2, batch=32, objective=spec.Ceb(rho=3.0)) if small else CIFAR
    try:
        test = load(run.data, "test", data_root())
    except InputError as error:
        yield skipped(f"{run.data.name}, {run.epochs:g} epochs", f"no images: {error}")
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder) / "runs" / "r0000000000000000")
        paths.folder.mkdir(parents=True)
        with Journal(paths.journal("train", 1)) as journal:
            began = time.perf_counter()
            train(run, paths, journal, data_root(), device, lambda: False)
            spent = time.perf_counter() - began
        model = checkpoint_format.load_model(run, paths.checkpoints).model.to(device).eval()
        with full_precision(device):
            (clean,) = EVALUATORS[Clean](model, EvaluationContext(test, device, 500), Clean(), 0)
    found = measure(clean)
    accuracy = (found.correct or 0) / found.total
    name = f"{run.data.name}, {run.epochs:g} epochs"
    yield measured(f"{name}: time", f"{spent:.1f} s with checkpoints, the start of the device included")
    yield checked(f"{name}: accuracy", accuracy >= LEARNED, f"{accuracy:.3f}", f"at least {LEARNED}")


def groups(device: str, small: bool) -> Iterator[Result]:
    """Compare the update of two steps by a group of one process, and by one for each GPU, with that without a group.

    NCCL on GPUs; on a CPU gloo, with two processes. As in `settings`, activations near 0 allow for 1e-3; a sum in the
    place of a mean would be off by 1.
    """
    on_gpu = torch.device(device).type == "cuda"
    library, worlds = ("nccl", sorted({1, torch.cuda.device_count()})) if on_gpu else ("gloo", [2])
    with tempfile.TemporaryDirectory() as folder:
        alone_P = take_steps(GROUP_RUN, synthetic("cifar10", 32), device, 2).update_P
        for world in worlds:
            out = Path(folder) / str(world)
            multiprocessing.spawn(partial(_member, world=world, device=device, out=out), nprocs=world)
            together_P = torch.load(out)
            name = f"{library}, {world} process{'es' * (world > 1)}"
            yield at_most(f"{name}: update", distance(together_P, alone_P), 1e-3, "relative distance")
    if worlds == [1]:
        yield skipped(f"{library}, several GPUs", "there is one")


GROUP_RUN = spec.Run(
    data=spec.Data(name="cifar10"), network=spec.WideResNet(blocks=1, width=1, norm="batch"), batch_norm="sync",
    objective=spec.Ceb(rho=3.0), optimiser=spec.Sgd(lr=1e-2), epochs=100, batch=16,
)  # fmt: skip
"""BatchNorm's statistics over the whole batch, so that the division of it into processes changes nothing."""


def _member(rank: int, world: int, device: str, out: Path) -> None:
    """Take the steps as one process of a group; the first writes its update."""
    torch.set_num_threads(1)
    backend = "gloo"
    if torch.device(device).type == "cuda":
        device, backend = f"cuda:{rank}", "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, init_method=f"file://{out}.store", rank=rank, world_size=world)
    distributed.all_reduce(torch.ones(1, device=device))  # of one process too, which exchanges nothing in training
    update_P = take_steps(GROUP_RUN, synthetic("cifar10", 32), device, 2, group=Group.default()).update_P
    if rank == 0:
        torch.save(update_P, out)
    distributed.destroy_process_group()
