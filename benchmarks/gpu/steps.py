"""Training steps of a run on a device, for comparison. Shapes: B images of a batch, P parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from experiments import datasets, spec
from experiments.resources import Execution
from jobs.engine.data import ImageSet, load
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.training_batches import training_batches
from jobs.engine.distributed import Group
from jobs.engine.models import CebModel
from jobs.engine.precision import training_precision
from jobs.engine.training import encoder_noise
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.step import scheduled_values, train_step
from jobs.engine.training.train_state import DEFAULT, initial_state

DIGITS = spec.Run(
    data=spec.Data(name="digits"),
    network=spec.SmallCnn(),
    objective=spec.Xent(),
    optimiser=spec.Sgd(lr=0.05),
    epochs=100,
    batch=8,
)
"""Real images that scikit-learn ships. Few of them in a batch: the gradient jumps where the last bit decides the sign
of an activation, and among few activations none is that near to 0."""


@dataclass(frozen=True)
class Steps:
    """What some steps came to."""

    losses: list[float]
    """Before each step."""
    update_P: Tensor
    """The change of all parameters, marginal included, on the CPU."""
    model: CebModel


def synthetic(name: str, count: int) -> MemoryImages:
    """Return random images of a data set's shape and number of classes."""
    info, generator = datasets.info(name), torch.Generator().manual_seed(0)
    shape = (count, info.channels, info.size, info.size)
    images_NCHW = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return MemoryImages(info, "train", "synthetic", torch.arange(count) % info.classes, images_NCHW)


@cache
def digits(split: str = "train") -> ImageSet:
    """Return the digits, which need no download."""
    return load(spec.Data(name="digits"), split, data_root())  # type: ignore[arg-type]


def data_root() -> Path:
    """Return the folder of the data sets."""
    return Path(os.environ.get("CEBCTL_DATA", "data"))


def take_steps(
    run: spec.Run, images: ImageSet, device: str, steps: int, execution: Execution = DEFAULT, group: Group | None = None
) -> Steps:
    """Train a run from its initial weights for so many steps, as the engine's loop does."""
    group = group or Group()
    state = initial_state(run, images.labels_N, device, group, execution)
    before_P = _flat(state.model)
    sampler, losses = EpochSampler(run, len(images)), []
    with training_precision(run, device):
        while state.step < steps:
            epoch = state.step // sampler.steps_per_epoch
            shards = [group.shard(samples_B, 1) for samples_B in sampler.remaining_batches(state.step)]
            shards = shards[: steps - state.step]
            loader = training_batches(images, shards, run, epoch, sampler.order(epoch), device)
            noises = encoder_noise.for_each(run, epoch, shards, device)
            for noise_BZ, (samples_B, x_BCHW, y_B) in zip(noises, loader, strict=True):
                scheduled = scheduled_values(state, sampler)
                means = train_step(state, scheduled, epoch, samples_B, x_BCHW, y_B, noise_BZ)
                losses.append(means["loss"].item())
                state.step += 1
    return Steps(losses, _flat(state.model) - before_P, state.model)


def _flat(model: CebModel) -> Tensor:
    return torch.cat([parameter.detach().cpu().flatten().clone() for parameter in model.parameters()])


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the CPU, as a job of few cores does: small tensors gain nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
