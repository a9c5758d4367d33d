"""Batches of an image set, by index. Shapes: B images, C channels, H by W pixels.

Decoding and augmentation run in worker processes where the job has more than one thread to spend. Workers take
part in no draw, so their number changes nothing but the speed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

from experiments.errors import InputError
from experiments.spec import AutoAugment
from jobs.engine.data.augment import Augment, augment_small, folder_transform, sample_seeds, seeded
from jobs.engine.data.images import FolderImages, ImageSet, MemoryImages

Batch = tuple[Tensor, Tensor, Tensor]

_UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole image."""


def batches(
    images: ImageSet,
    index_batches: Sequence[Tensor],
    augment: Augment,
    seed: int,
    epoch: int,
    device: str | torch.device,
    *,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Yield (samples_B int64, x_BCHW float32 in [0, 1], y_B int64) for each tensor of indices; samples_B stays on
    the CPU, the others are on `device`.

    An image that can't be decoded is missing from its batch and noted in `images.corrupt`. Raises InputError
    when these become too many, or when nothing is left of a batch. `workers`: loader processes; None lets the
    number of threads of this job decide.
    """
    reader = _Reader(images, augment, seed, epoch)
    on_gpu = torch.device(device).type == "cuda"
    loader: DataLoader[_Read] = DataLoader(
        reader,
        batch_size=None,
        sampler=index_batches,
        num_workers=_workers(images, augment) if workers is None else workers,
        pin_memory=on_gpu,
        generator=torch.Generator(),  # else the loader takes a number from the global one
    )
    for read in loader:
        for index, why in read.corrupt.items():
            assert isinstance(images, FolderImages)
            images.leave_out(index, why)
        if not len(read.samples_B):
            raise InputError(", ".join(read.corrupt.values()), "nothing else is in this batch")
        x_BCHW = read.images_BCHW.to(device, non_blocking=on_gpu).float().div_(255)
        yield read.samples_B, x_BCHW, read.labels_B.to(device, non_blocking=on_gpu)


def _workers(images: ImageSet, augment: Augment) -> int:
    slow = isinstance(images, FolderImages) or isinstance(augment, AutoAugment)
    threads = torch.get_num_threads()
    return threads if slow and threads > 1 else 0


@dataclass(frozen=True)
class _Read:
    """A batch as a worker hands it over, pixels as uint8."""

    samples_B: Tensor
    images_BCHW: Tensor
    labels_B: Tensor
    corrupt: dict[int, str]

    def pin_memory(self) -> _Read:
        """Called by the loader."""
        return replace(self, images_BCHW=self.images_BCHW.pin_memory(), labels_B=self.labels_B.pin_memory())


class _Reader(Dataset[_Read]):
    """Maps the indices of a batch to the batch."""

    def __init__(self, images: ImageSet, augment: Augment, seed: int, epoch: int) -> None:
        self._images, self._augment, self._seed, self._epoch = images, augment, seed, epoch

    def __getitem__(self, samples_B: Tensor) -> _Read:
        if isinstance(self._images, MemoryImages):
            return self._from_memory(self._images, samples_B)
        return self._from_folder(self._images, samples_B)

    def _from_memory(self, images: MemoryImages, samples_B: Tensor) -> _Read:
        images_BCHW = images.images_NCHW[samples_B]
        images_BCHW = augment_small(images_BCHW, self._augment, images.info, self._seed, self._epoch, samples_B)
        return _Read(samples_B, images_BCHW, images.labels_N[samples_B], {})

    def _from_folder(self, images: FolderImages, samples_B: Tensor) -> _Read:
        transform = folder_transform(self._augment, images.info)
        size = images.info.size
        pixels_BCHW = torch.empty(len(samples_B), images.info.channels, size, size, dtype=torch.uint8)
        kept, corrupt = torch.ones(len(samples_B), dtype=torch.bool), {}
        seeds = sample_seeds(self._seed, self._epoch, samples_B)
        for number, (index, sample_seed) in enumerate(zip(samples_B.tolist(), seeds, strict=True)):
            try:
                image = _decode(images, index)
            except _UNREADABLE as error:
                kept[number], corrupt[index] = False, f"{type(error).__name__}: {error}"
                continue
            with seeded(sample_seed):
                pixels_BCHW[number] = pil_to_tensor(transform(image))
        samples_B = samples_B[kept]
        return _Read(samples_B, pixels_BCHW[kept], images.labels_N[samples_B], corrupt)


def _decode(images: FolderImages, index: int) -> Image.Image:
    # Pillow, because the set holds 22 CMYK images and a PNG under the name of a JPEG, which it reads all.
    with Image.open(images.path(index)) as image:
        return image.convert("RGB")
