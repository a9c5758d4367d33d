"""Images of a batch read in worker processes, without those that can't be read."""

from __future__ import annotations

import signal
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.errors import InputError
from jobs.engine.data.images import FolderImages, ImageSet
from jobs.signals import TIME_LIMIT

UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole image."""


@dataclass(frozen=True)
class Read:
    """A batch as a worker hands it over."""

    samples_B: Tensor
    labels_B: Tensor
    corrupt: dict[int, str]
    """Why images are missing, by index."""


AnyRead = TypeVar("AnyRead", bound=Read)


def _heed_no_signal(_worker: int) -> None:
    """A scheduler tells every process of a job to stop; the one that trains decides when its readers do."""
    for one in (signal.SIGTERM, TIME_LIMIT):
        signal.signal(one, signal.SIG_IGN)


def loaded(
    reader: Dataset[AnyRead],
    index_batches: Sequence[Tensor],
    images: ImageSet,
    workers: int,
    *,
    pin_memory: bool = False,
) -> Generator[AnyRead, None, None]:
    """What a reader makes of each tensor of indices. Missing images are noted; InputError when they become too many, or
    when nothing is left of a batch."""
    loader: DataLoader[AnyRead] = DataLoader(
        reader,
        batch_size=None,
        sampler=index_batches,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else the loader takes a number from the global one
        worker_init_fn=_heed_no_signal,
    )
    for read in loader:
        for index, why in read.corrupt.items():
            assert isinstance(images, FolderImages)
            images.leave_out(index, why)
        if not len(read.samples_B):
            raise InputError(", ".join(read.corrupt.values()), "nothing else is in this batch")
        yield read
