"""Augmentation: what is drawn for an image is a function of (seed, epoch, sample) alone.

Small images are cropped, flipped and put through AutoAugment as a whole batch, wherever it lies, by numbers that are
drawn for each of them. Where torchvision draws (crops of random area, and AutoAugment behind them), it does so from
the global generator, seeded for each image and restored behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision import transforms
from torchvision.transforms import functional

from experiments.datasets import DatasetInfo
from experiments.spec import AutoAugment, CropFlip, NoAugment
from jobs.engine import randomness
from jobs.engine.data.autoaugment import GREY, POLICIES, autoaugment
from jobs.engine.device import moved

Augment = NoAugment | CropFlip | AutoAugment
BICUBIC = transforms.InterpolationMode.BICUBIC
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of the crop in training: its share of the image's area, its width over its height."""


def augment_small(
    images_BCHW: Tensor, augment: Augment, info: DatasetInfo, seed: int, epoch: int, samples_B: Tensor
) -> Tensor:
    """Augment uint8 images of one size, the samples `samples_B` (int64, on the CPU), on the device where they lie."""
    if isinstance(augment, NoAugment):
        return images_BCHW
    images_BCHW = crop_flip(images_BCHW, info, seed, epoch, samples_B)
    if isinstance(augment, AutoAugment):
        images_BCHW = autoaugment(images_BCHW, augment.policy, seed, epoch, samples_B)
    return images_BCHW


def crop_flip(images_BCHW: Tensor, info: DatasetInfo, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """A crop of the image's own size out of the image with `info.crop_padding` zeros around, and, where the data
    set allows it, a mirrored image in one of two cases. Digits are shifted by one pixel and never mirrored."""
    padding, device = info.crop_padding or 0, images_BCHW.device
    batch, _, height, width = images_BCHW.shape
    drawn_B3 = moved(randomness.uniform(seed, "crop_flip", epoch, samples_B, 3), device)
    top_B, left_B = (drawn_B3[:, :2] * (2 * padding + 1)).long().unbind(dim=1)
    columns_BW = torch.arange(width, device=device).expand(batch, width)
    if info.flips:
        columns_BW = torch.where(drawn_B3[:, 2:] < 0.5, columns_BW.flip(1), columns_BW)
    rows_BH1 = (top_B[:, None] + torch.arange(height, device=device))[:, :, None]
    columns_B1W = (left_B[:, None] + columns_BW)[:, None, :]
    padded_BHWC = pad(images_BCHW, [padding] * 4).permute(0, 2, 3, 1)
    cropped_BHWC = padded_BHWC[torch.arange(batch, device=device)[:, None, None], rows_BH1, columns_B1W]
    return cropped_BHWC.permute(0, 3, 1, 2).contiguous()


def folder_transform(augment: Augment, info: DatasetInfo) -> Callable[[Image.Image], Image.Image]:
    """The transform of one decoded image to info.size; where it draws, it draws from torch's global generator."""
    if isinstance(augment, NoAugment):
        return lambda image: central_crop(image, info.size)
    crop = transforms.RandomResizedCrop(info.size, scale=_AREA, ratio=_RATIO, interpolation=BICUBIC)
    steps: list[Callable[..., object]] = [crop, transforms.RandomHorizontalFlip()]
    if isinstance(augment, AutoAugment):
        steps.append(transforms.AutoAugment(POLICIES[augment.policy], fill=[GREY] * info.channels))
    composed: Callable[[Image.Image], Image.Image] = transforms.Compose(steps)
    return composed


def central_crop(image: Image.Image, size: int) -> Image.Image:
    """The central square of 224/256 of the short side, resized bicubically (with antialiasing) to size x size."""
    cropped: Image.Image = functional.resized_crop(image, *_central(*image.size), [size, size], BICUBIC)
    return cropped


def window(augment: Augment, width: int, height: int) -> tuple[int, int, int, int, bool]:
    """What `folder_transform` cuts out of an image of this size (top, left, height, width), and whether it is mirrored;
    drawn from torch's global generator, by the same numbers."""
    if isinstance(augment, NoAugment):
        return *_central(width, height), False
    of_this_size = torch.empty(1, height, width, device="meta")
    cut = transforms.RandomResizedCrop.get_params(of_this_size, list(_AREA), list(_RATIO))
    return *cut, bool(torch.rand(1) < 0.5)


def _central(width: int, height: int) -> tuple[int, int, int, int]:
    crop = int(min(width, height) * 224 / 256)
    return (height - crop + 1) // 2, (width - crop + 1) // 2, crop, crop


@contextmanager
def seeded(sample_seed: int) -> Iterator[None]:
    """torch's global CPU generator, seeded, and behind it as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(sample_seed)
        yield


def sample_seeds(seed: int, epoch: int, samples_B: Tensor) -> list[int]:
    """What `seeded` takes for each sample of an epoch."""
    seeds: list[int] = randomness.bits(seed, "augment", epoch, samples_B, 1)[:, 0].tolist()
    return seeds
