"""Images in folders through NVIDIA DALI, the extra `dali`, instead of torchvision and Pillow: in DALI's threads, and on
the GPU where there is one.

DALI draws nothing here. The window of an image, and its mirroring, are drawn as torchvision draws them, from the same
numbers. The operations of AutoAugment's family v0 are DALI's; their choice for an image is a function of (seed, epoch,
sample) too. Those of `imagenet_authors` are ours, after the pipeline. All these numbers go into the pipeline beside the
bytes of the file, in the order of the batches.

Shapes: B images of a batch, H by W pixels, C channels.
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain, compress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from experiments.errors import InputError
from experiments.regular_files import read_regular
from experiments.spec import Augment, AutoAugment, NoAugment
from jobs.datasets.image_file import open_image
from jobs.engine.data.augmentation import autoaugment
from jobs.engine.data.augmentation.augment import (
    before_policy,
    crop_window,
    policy_on_device,
    sample_seeds,
    seeded_generator,
    to_unit_range,
)
from jobs.engine.data.images import FolderImages
from jobs.engine.data.loader_pool import UNREADABLE, ReadBatch, load_batches
from jobs.engine.device import to_device

THREADS_PER_READER = 8
"""Threads of DALI for each reader process: reading and drawing is much less work than decoding."""

_END_OF_JPEG = b"\xff\xd9"
_UNDECODABLE = "Failed to decode"
"""Part of DALI's message, in a plain RuntimeError."""
_NONE = -1
"""In place of an operation's number: the image is left alone."""


def require() -> None:
    """Raise InputError if DALI is not installed."""
    try:
        import nvidia.dali  # noqa: F401
    except ImportError:
        raise InputError("nvidia-dali", "it is not installed", "pip install 'cebctl[dali]'") from None


def batches(
    images: FolderImages,
    index_batches: Sequence[Tensor],
    augment: Augment,
    seed: int,
    epoch: int,
    device: torch.device,
    workers: int | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield and raise as `jobs.engine.data.batches` does; the pipeline is one or two batches ahead."""
    if not index_batches:
        return
    threads = torch.get_num_threads()
    readers = -(-threads // THREADS_PER_READER) if threads > 1 else 0
    reader = _Reader(images, before_policy(augment), seed, epoch)
    read_batches = load_batches(reader, index_batches, images, readers if workers is None else workers)
    in_flight: deque[_Encoded] = deque()
    """Batches that the pipeline has read and not yet returned."""
    largest = max(len(samples_B) for samples_B in index_batches)

    def start(encoded_batches: Iterable[_Encoded]) -> Any:
        def source() -> Iterator[tuple[Any, ...]]:
            for encoded in encoded_batches:
                in_flight.append(encoded)
                yield encoded.inputs()

        return _pipeline(source(), before_policy(augment), images.info.size, largest, threads, device)

    with closing(read_batches):  # ends the worker processes; the pipeline would at an unknown time
        pipeline = start(read_batches)
        while True:
            try:
                pixels_BHWC = _to_torch(pipeline.run()[0], device)
            except StopIteration:
                return
            except RuntimeError as error:  # a pipeline does not go on after an image that it can't decode
                if _UNDECODABLE not in str(error):
                    raise
                decodable = [_drop_undecodable(encoded, images, device) for encoded in in_flight]
                if all(after is before for after, before in zip(decodable, in_flight, strict=True)):
                    raise
                in_flight.clear()
                pipeline = start(chain(decodable, read_batches))
                continue
            encoded = in_flight.popleft()
            images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).contiguous()
            images_BCHW = policy_on_device(images_BCHW, augment, seed, epoch, encoded.samples_B)
            yield encoded.samples_B, to_unit_range(images_BCHW), to_device(encoded.labels_B, device)


@dataclass(frozen=True)
class _Encoded(ReadBatch):
    """A batch as the pipeline takes it."""

    contents: Tensor
    """uint8: the images' files, one after the other."""
    lengths_B: list[int]
    windows_B5: Tensor
    """int32: top, left, height and width in pixels, and 1 if mirrored."""
    choices_B23: Tensor | None
    """AutoAugment's, int32, for each of two stages: the operation's number, its level, and 1 if it goes backward."""

    def files(self) -> list[NDArray[np.uint8]]:
        """Return the bytes of each image."""
        return np.split(self.contents.numpy(), np.cumsum(self.lengths_B)[:-1])

    def inputs(self) -> tuple[Any, ...]:
        """Return the inputs of the pipeline, as arrays."""
        choices = () if self.choices_B23 is None else (self.choices_B23.numpy(),)
        return self.files(), self.windows_B5.numpy(), *choices

    def select(self, is_selected_B: NDArray[np.bool_]) -> _Encoded:
        """Return the batch with the selected images only."""
        files, selected_B = list(compress(self.files(), is_selected_B)), torch.from_numpy(is_selected_B)
        return _Encoded(
            self.samples_B[selected_B],
            self.labels_B[selected_B],
            {},
            torch.from_numpy(np.concatenate(files)),
            [len(file) for file in files],
            self.windows_B5[selected_B],
            None if self.choices_B23 is None else self.choices_B23[selected_B],
        )


class _Reader(Dataset[_Encoded]):
    """Maps the indices of a batch to the batch."""

    def __init__(self, images: FolderImages, augment: Augment, seed: int, epoch: int) -> None:
        self._images, self._augment, self._seed, self._epoch = images, augment, seed, epoch

    def __getitem__(self, samples_B: Tensor) -> _Encoded:
        is_read_B, corrupt = torch.ones(len(samples_B), dtype=torch.bool), {}
        contents, windows = [], []
        seeds = sample_seeds(self._seed, self._epoch, samples_B)
        for number, (index, sample_seed) in enumerate(zip(samples_B.tolist(), seeds, strict=True)):
            try:
                content, (width, height) = to_decodable(read_regular(self._images.path(index)))
            except UNREADABLE as error:
                is_read_B[number], corrupt[index] = False, str(error)
                continue
            with seeded_generator(sample_seed):
                windows.append(crop_window(self._augment, width, height))
            contents.append(np.frombuffer(content, dtype=np.uint8))
        samples_B = samples_B[is_read_B]
        return _Encoded(
            samples_B,
            self._images.labels_N[samples_B],
            corrupt,
            torch.from_numpy(np.concatenate(contents)) if contents else torch.empty(0, dtype=torch.uint8),
            [len(content) for content in contents],
            torch.tensor(windows, dtype=torch.int32).view(-1, 5),
            choices(self._seed, self._epoch, samples_B) if isinstance(self._augment, AutoAugment) else None,
        )


def to_decodable(content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return a file that DALI reads as Pillow does, and its width and height. Raises one of UNREADABLE if it is no
    complete image.

    A complete JPEG is returned as it is. Pillow decodes files of another kind under that name (ImageNet has 22 in CMYK,
    and a PNG), and those that may be truncated: they would end DALI's pipeline.
    """
    with open_image(content) as image:
        plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        if plain and content.rstrip(b"\0").endswith(_END_OF_JPEG):
            return content, image.size
        lossless = io.BytesIO()
        image.convert("RGB").save(lossless, "PNG", compress_level=1)
        return lossless.getvalue(), image.size


def _drop_undecodable(encoded: _Encoded, images: FolderImages, device: torch.device) -> _Encoded:
    """Return the batch without the images that DALI can't decode, which are left out by name. Raises InputError if they
    become too many, or if no image remains."""
    is_decodable_B = _test_decoding(encoded.files(), encoded.windows_B5.numpy(), device)
    for index in encoded.samples_B[torch.from_numpy(~is_decodable_B)].tolist():
        images.leave_out(index, "DALI can't decode it")
    if not is_decodable_B.any():
        raise InputError(
            images.path(int(encoded.samples_B[0])), "DALI can't decode it", "nothing else is in this batch"
        )
    return encoded if is_decodable_B.all() else encoded.select(is_decodable_B)


def _test_decoding(
    files_B: list[NDArray[np.uint8]], windows_B5: NDArray[np.int32], device: torch.device
) -> NDArray[np.bool_]:
    """Return for each file if DALI can decode its window: all at once, else by halves."""
    count = len(files_B)
    try:
        _pipeline(iter([(files_B, windows_B5)]), NoAugment(), 1, count, 1, device).run()
    except RuntimeError as error:
        if _UNDECODABLE not in str(error):
            raise
        if count == 1:
            return np.zeros(1, dtype=np.bool_)
        half = count // 2
        parts = (files_B[:half], windows_B5[:half]), (files_B[half:], windows_B5[half:])
        return np.concatenate([_test_decoding(*part, device) for part in parts])
    return np.ones(count, dtype=np.bool_)


def choices(seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """Return the operations of AutoAugment on each sample, int32 of shape (B, 2, 3): see `_Encoded`."""
    numbers_P2, chances_P2, levels_P2 = _table()
    chosen_B, chances_B2, signs_B2 = autoaugment.draw(len(numbers_P2), seed, epoch, samples_B)
    numbers_B2 = torch.where(chances_B2 < chances_P2[chosen_B], numbers_P2[chosen_B], _NONE)
    return torch.stack([numbers_B2, levels_P2[chosen_B], 1 - signs_B2], dim=2).to(torch.int32)


@cache
def policy() -> Any:
    """Return DALI's statement of the v0 policy: the operations of the public TPU code (tensorflow/tpu,
    efficientnet)."""
    from nvidia.dali.auto_aug import auto_augment

    return auto_augment.get_image_net_policy()


@cache
def _table() -> tuple[Tensor, Tensor, Tensor]:
    """Return the numbers, probabilities and levels of each pair of operations; zeros for a missing second one."""
    names = list(policy().augmentations)
    pairs = [
        [(names.index(operation.name), probability, level or 0) for operation, probability, level in pair]
        for pair in policy().sub_policies
    ]
    table_P23 = torch.tensor([[*pair, (0, 0.0, 0)][:2] for pair in pairs], dtype=torch.float64)
    numbers_P2, chances_P2, levels_P2 = table_P23.unbind(2)
    return numbers_P2.long(), chances_P2, levels_P2.long()


def _pipeline(
    source: Iterator[tuple[Any, ...]], augment: Augment, size: int, batch: int, threads: int, device: torch.device
) -> Any:
    """Return a pipeline from `_Encoded.inputs` to uint8 images of shape (size, size, 3)."""
    from nvidia.dali import fn, pipeline_def, types

    on_gpu = device.type == "cuda"
    augments = isinstance(augment, AutoAugment)
    kinds, dimensions = [types.UINT8, types.INT32, types.INT32], [1, 1, 2]
    inputs = len(kinds) if augments else len(kinds) - 1

    @pipeline_def(enable_conditionals=True)  # type: ignore[untyped-decorator]
    def define() -> Any:
        content, window_5, *choice_23 = fn.external_source(
            source, num_outputs=inputs, dtype=kinds[:inputs], ndim=dimensions[:inputs]
        )
        image = fn.decoders.image_slice(
            content,
            window_5[0:2],
            window_5[2:4],
            axes=[0, 1],
            normalized_anchor=False,
            normalized_shape=False,
            adjust_orientation=False,
            jpeg_fancy_upsampling=True,  # as on the CPU
            device="mixed" if on_gpu else "cpu",
        )
        image = fn.resize(image, size=[size, size], interp_type=types.INTERP_CUBIC, antialias=True)
        image = fn.flip(image, horizontal=window_5[4])
        return _autoaugment(image, choice_23[0]) if augments else image

    device_id = (torch.cuda.current_device() if device.index is None else device.index) if on_gpu else None
    with warnings.catch_warnings(record=True):  # of DALI, at its own use of a name it calls outdated; no filter helps
        pipeline = define(batch_size=batch, num_threads=threads, device_id=device_id)
        pipeline.build()
    return pipeline


def _autoaugment(image: Any, choice_23: Any) -> Any:
    """Return the pipeline's images under their two operations each."""
    from nvidia.dali.auto_aug.core import signed_bin

    for stage in range(2):
        number = choice_23[stage, 0]
        level = signed_bin(choice_23[stage, 1], random_sign=choice_23[stage, 2])
        if number != _NONE:
            image = _apply_operation(image, number, level, 0, len(policy().augmentations))
    return image


def _apply_operation(image: Any, number: Any, level: Any, first: int, end: int) -> Any:
    """Return the pipeline's images under the operations of these numbers, all in first … end - 1."""
    from nvidia.dali import types

    if end - first == 1:
        return list(policy().augmentations.values())[first](
            image,
            magnitude_bin=level,
            num_magnitude_bins=policy().num_magnitude_bins,
            fill_value=autoaugment.GREY,
            interp_type=types.INTERP_NN,  # as the TPU code moves images
        )
    middle = (first + end) // 2
    if number < middle:
        image = _apply_operation(image, number, level, first, middle)
    else:
        image = _apply_operation(image, number, level, middle, end)
    return image


def _to_torch(images: Any, device: torch.device) -> Tensor:
    """Return a copy of DALI's uint8 images, on the device."""
    from nvidia.dali.plugin.pytorch import feed_ndarray

    tensor = images.as_tensor()
    copy_BHWC = torch.empty(tensor.shape(), dtype=torch.uint8, device=device)
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
    filled_BHWC: Tensor = feed_ndarray(tensor, copy_BHWC, cuda_stream=stream)
    return filled_BHWC
