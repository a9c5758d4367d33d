"""Batches of an image set, by index. Shapes: B images, C channels, H by W pixels.

Images in memory live on the device, as uint8, and are augmented there in batches. Decoding, and everything that is
done image by image, runs in worker processes where the job has more than one thread. Workers draw no random numbers, so
their number changes nothing but the speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from experiments.spec import Augment, NoAugment, Part
from jobs.datasets.image_file import open_image
from jobs.engine.chunking import in_chunks
from jobs.engine.data import dali
from jobs.engine.data.augmentation.augment import (
    ByImage,
    augment_small,
    before_policy,
    folder_transform,
    imagenet_c_crop,
    policy_on_device,
    sample_seeds,
    seeded_generator,
    to_unit_range,
)
from jobs.engine.data.augmentation.own import own_augment
from jobs.engine.data.images import FolderImages, ImageSet, ImageTransform, MemoryImages
from jobs.engine.data.loader_pool import UNREADABLE, ReadBatch, load_batches
from jobs.engine.device import to_device

Batch = tuple[Tensor, Tensor, Tensor]


def batches(
    images: ImageSet,
    index_batches: Sequence[Tensor],
    augment: Augment | Part,
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
    if isinstance(augment, Part):
        augmented = own_augment(augment, seed, epoch)
        for samples_B, x_BCHW, y_B in batches(images, index_batches, NoAugment(), seed, epoch, device, workers=workers):
            yield samples_B, augmented(samples_B, x_BCHW), y_B
        return
    if workers is None and isinstance(augment, ByImage):
        workers = torch.get_num_threads() if torch.get_num_threads() > 1 else 0
    if isinstance(images, MemoryImages) and images.transform is None and not workers:
        yield from _resident(images, index_batches, augment, seed, epoch, torch.device(device))
        return
    if (
        isinstance(images, FolderImages)
        and images.loader == "dali"
        and images.crop == "evaluation"
        and images.transform is None
    ):
        yield from dali.batches(images, index_batches, augment, seed, epoch, torch.device(device), workers)
        return
    on_gpu = torch.device(device).type == "cuda"
    if workers is None:
        workers = torch.get_num_threads() if torch.get_num_threads() > 1 else 0
    reader = _Reader(images, augment, seed, epoch)
    for read in load_batches(reader, index_batches, images, workers, pin_memory=on_gpu):
        images_BCHW = read.images_BCHW.to(device, non_blocking=on_gpu)
        if isinstance(images, FolderImages):
            images_BCHW = policy_on_device(images_BCHW, augment, seed, epoch, read.samples_B)
        yield read.samples_B, to_unit_range(images_BCHW), read.labels_B.to(device, non_blocking=on_gpu)


def _resident(
    images: MemoryImages, index_batches: Sequence[Tensor], augment: Augment, seed: int, epoch: int, device: torch.device
) -> Iterator[Batch]:
    """Yield batches of images that stay on the device as uint8 and are augmented there."""
    images_NCHW, labels_N = images.on(device)

    def load_rows(samples_B: Tensor) -> Batch:
        indices_B = to_device(samples_B, device)
        images_BCHW = augment_small(images_NCHW[indices_B], augment, images.info, seed, epoch, samples_B)
        return samples_B, to_unit_range(images_BCHW), labels_N[indices_B]

    yield from in_chunks(load_rows, index_batches, images_NCHW[0].numel())


@dataclass(frozen=True)
class _PixelBatch(ReadBatch):
    """Pixels as uint8, or as float32 in [0, 1]."""

    images_BCHW: Tensor

    def pin_memory(self) -> _PixelBatch:
        """Pin the batch: the loader calls this for the copy to a GPU."""
        return replace(self, images_BCHW=self.images_BCHW.pin_memory(), labels_B=self.labels_B.pin_memory())


class _Reader(Dataset[_PixelBatch]):
    """Maps the indices of a batch to the batch."""

    def __init__(self, images: ImageSet, augment: Augment, seed: int, epoch: int) -> None:
        self._images, self._augment, self._seed, self._epoch = images, augment, seed, epoch

    def __getitem__(self, samples_B: Tensor) -> _PixelBatch:
        images = self._images
        read = (
            self._from_memory(images, samples_B)
            if isinstance(images, MemoryImages)
            else self._from_folder(images, samples_B)
        )
        return read if images.transform is None else _transform(read, images.transform)

    def _from_memory(self, images: MemoryImages, samples_B: Tensor) -> _PixelBatch:
        images_BCHW = images.images_NCHW[samples_B]
        images_BCHW = augment_small(images_BCHW, self._augment, images.info, self._seed, self._epoch, samples_B)
        return _PixelBatch(samples_B, images.labels_N[samples_B], {}, images_BCHW)

    def _from_folder(self, images: FolderImages, samples_B: Tensor) -> _PixelBatch:
        size = images.info.size
        crops: dict[str | None, Callable[[Image.Image], Image.Image]] = {
            "evaluation": folder_transform(before_policy(self._augment), images.info),
            "imagenet-c": partial(imagenet_c_crop, size=size),
            None: partial(_check_size, size=size),
        }
        crop = crops[images.crop]
        pixels_BCHW = torch.empty(len(samples_B), images.info.channels, size, size, dtype=torch.uint8)
        is_read_B, corrupt = torch.ones(len(samples_B), dtype=torch.bool), {}
        seeds = sample_seeds(self._seed, self._epoch, samples_B)
        for number, (index, sample_seed) in enumerate(zip(samples_B.tolist(), seeds, strict=True)):
            try:
                image = _decode(images, index)
                with seeded_generator(sample_seed):
                    pixels_BCHW[number] = pil_to_tensor(crop(image))
            except UNREADABLE as error:
                is_read_B[number], corrupt[index] = False, str(error)
        samples_B = samples_B[is_read_B]
        return _PixelBatch(samples_B, images.labels_N[samples_B], corrupt, pixels_BCHW[is_read_B])


def _transform(read: _PixelBatch, transform: ImageTransform) -> _PixelBatch:
    pixels_BHWC = read.images_BCHW.permute(0, 2, 3, 1).numpy()
    indices = read.samples_B.tolist()
    transformed = [transform(pixels_HWC, index) for pixels_HWC, index in zip(pixels_BHWC, indices, strict=True)]
    if not transformed:
        return read
    return replace(read, images_BCHW=torch.from_numpy(np.stack(transformed)).permute(0, 3, 1, 2))


def _check_size(image: Image.Image, size: int) -> Image.Image:
    if image.size != (size, size):
        raise ValueError(f"{image.size[0]}x{image.size[1]} pixels, expected {size}x{size}")
    return image


def _decode(images: FolderImages, index: int) -> Image.Image:
    # Pillow, because ImageNet has 22 CMYK images and a PNG under the name of a JPEG, and it reads them all.
    with open_image(images.path(index)) as image:
        return image.convert("RGB")
