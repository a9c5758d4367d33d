"""Batches of images read in worker processes, without those that can't be read."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.errors import InputError
from jobs.engine.data.images import FolderImages, ImageSet
from jobs.signals import TIME_LIMIT

UNREADABLE = (OSError, ValueError)
"""The errors of a file that is no complete image (`UnreadableImageError`) or not of the size it has to be."""


@dataclass(frozen=True)
class ReadBatch:
    """A batch as a worker returns it."""

    samples_B: Tensor
    labels_B: Tensor
    corrupt: dict[int, str]
    """Why images are missing, by index."""


AnyBatch = TypeVar("AnyBatch", bound=ReadBatch)


def _ignore_signals(_worker: int) -> None:
    """Ignore requests to stop: a scheduler sends them to every process of a job, and the training one ends its
    workers itself."""
    for number in (signal.SIGTERM, TIME_LIMIT):
        signal.signal(number, signal.SIG_IGN)


def load_batches(
    reader: Dataset[AnyBatch],
    index_batches: Sequence[Tensor],
    images: ImageSet,
    workers: int,
    *,
    pin_memory: bool = False,
) -> Generator[AnyBatch, None, None]:
    """Yield what a reader returns for each tensor of indices. Missing images are added to `images.corrupt`. Raises
    InputError if they become too many, or if no image of a batch can be read."""
    loader: DataLoader[AnyBatch] = DataLoader(
        reader,
        batch_size=None,
        sampler=index_batches,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else the loader takes a number from the global one
        worker_init_fn=_ignore_signals,
    )
    for read in loader:
        for index, why in read.corrupt.items():
            assert isinstance(images, FolderImages)
            images.leave_out(index, why)
        if not len(read.samples_B):
            raise InputError(", ".join(read.corrupt.values()), "nothing else is in this batch")
        yield read
