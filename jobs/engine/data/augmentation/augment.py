"""Augmentation: the draws of an image are a function of (seed, epoch, sample) alone.

Small images are cropped, flipped and put through AutoAugment a batch at a time, on the batch's device, by numbers drawn
for each of them. Where torchvision draws (crops of random area and AutoAugment after them; RandAugment, TrivialAugment
and AugMix of any image), it does so from the global generator, seeded for each image and restored afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision import transforms
from torchvision.transforms import functional

from experiments.datasets import DatasetInfo
from experiments.spec import Augment, AugMix, AutoAugment, CropFlip, NoAugment, RandAugment, TrivialAugment
from jobs.engine import randomness
from jobs.engine.data.augmentation.autoaugment import GREY, POLICIES, autoaugment, square
from jobs.engine.device import to_device

ByImage = RandAugment | TrivialAugment | AugMix
"""The augmentations that torchvision computes image by image."""
BICUBIC, BILINEAR = transforms.InterpolationMode.BICUBIC, transforms.InterpolationMode.BILINEAR
POLICY_AT_ONCE = 128
"""Images of folders that AutoAugment changes at a time on the device."""
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""The crop in training: its share of the image's area, its width over its height."""


def augment_small(
    images_BCHW: Tensor, augment: Augment, info: DatasetInfo, seed: int, epoch: int, samples_B: Tensor
) -> Tensor:
    """Augment uint8 images of one size, the samples `samples_B` (int64, on the CPU), on the device where they lie.

    They stay uint8, but for `fill: mean`, whose colour uint8 does not hold: then they are float32 in [0, 1].
    """
    if isinstance(augment, NoAugment):
        return images_BCHW
    if isinstance(augment, CropFlip):
        return crop_flip(images_BCHW, info, seed, epoch, samples_B)
    if isinstance(augment, ByImage):
        cropped_BCHW = crop_flip(images_BCHW, info, seed, epoch, samples_B).cpu()
        transform, seeds = by_image_transform(augment), sample_seeds(seed, epoch, samples_B)
        changed = []
        for image_CHW, sample_seed in zip(cropped_BCHW, seeds, strict=True):
            with seeded_generator(sample_seed):
                changed.append(transform(image_CHW))
        return torch.stack(changed).to(images_BCHW.device)
    assert augment.family != "v0"
    mean = augment.fill == "mean"
    if mean:
        images_BCHW = torch.cat([images_BCHW, torch.full_like(images_BCHW[:, :1], 255)], dim=1)
    if not augment.order:
        images_BCHW = crop_flip(images_BCHW, info, seed, epoch, samples_B, augment.crop_offsets or None)
    images_BCHW = autoaugment(images_BCHW, augment.policy, seed, epoch, samples_B, augment.family, alpha=mean)
    if augment.order:
        images_BCHW = crop_flip(images_BCHW, info, seed, epoch, samples_B, augment.crop_offsets or None)
    if augment.cutout:
        images_BCHW = _cut_out(images_BCHW, augment.cutout, seed, epoch, samples_B)
    return _fill_with_mean(images_BCHW, info.mean) if mean else images_BCHW


def by_image_transform(augment: ByImage) -> Callable[[Any], Any]:
    """Return torchvision's transform of an image, with its defaults, which draws from torch's global generator."""
    made: Callable[[Any], Any]
    match augment:
        case RandAugment():
            made = transforms.RandAugment(augment.operations, augment.magnitude)
        case TrivialAugment():
            made = transforms.TrivialAugmentWide()
        case AugMix():
            made = transforms.AugMix(augment.severity, augment.chains, augment.chain_length or -1, augment.alpha)
    return made


def to_unit_range(images_BCHW: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]."""
    return images_BCHW if images_BCHW.is_floating_point() else images_BCHW.float().div_(255)


def crop_flip(
    images_BCHW: Tensor, info: DatasetInfo, seed: int, epoch: int, samples_B: Tensor, offsets: int | None = None
) -> Tensor:
    """Return a crop of the image's own size out of the image with `info.crop_padding` zeros around, at one of the first
    `offsets` places in each direction (None: any), and, where the data set allows it, a mirrored image in one of two
    cases. Digits are shifted by one pixel and never mirrored."""
    padding, device = info.crop_padding or 0, images_BCHW.device
    batch, _, height, width = images_BCHW.shape
    drawn_B3 = to_device(randomness.uniform(seed, "crop_flip", epoch, samples_B, 3), device)
    top_B, left_B = (drawn_B3[:, :2] * (offsets or 2 * padding + 1)).long().unbind(dim=1)
    columns_BW = torch.arange(width, device=device).expand(batch, width)
    if info.flips:
        columns_BW = torch.where(drawn_B3[:, 2:] < 0.5, columns_BW.flip(1), columns_BW)
    rows_BH1 = (top_B[:, None] + torch.arange(height, device=device))[:, :, None]
    columns_B1W = (left_B[:, None] + columns_BW)[:, None, :]
    padded_BHWC = pad(images_BCHW, [padding] * 4).permute(0, 2, 3, 1)
    cropped_BHWC = padded_BHWC[torch.arange(batch, device=device)[:, None, None], rows_BH1, columns_B1W]
    return cropped_BHWC.permute(0, 3, 1, 2).contiguous()


def _cut_out(images_BCHW: Tensor, side: int, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """Return the images with zeros, of an alpha channel too, in a square of each (DeVries & Taylor, 2017)."""
    size = images_BCHW.shape[-1]
    centres_B2 = (randomness.uniform(seed, "cutout", epoch, samples_B, 2) * size).long()
    rows_B, columns_B = to_device(centres_B2, images_BCHW.device).unbind(dim=1)
    return images_BCHW.masked_fill(square(size, rows_B, columns_B, torch.full_like(rows_B, side)), 0)


def _fill_with_mean(images_BDHW: Tensor, mean: tuple[float, ...]) -> Tensor:
    """Return the colours as float32 in [0, 1], the mean colour where alpha, the last channel, is 0."""
    x_BCHW = to_unit_range(images_BDHW[:, :-1])
    return torch.where(images_BDHW[:, -1:] == 0, x_BCHW.new_tensor(mean)[:, None, None], x_BCHW)


def before_policy(augment: Augment) -> Augment:
    """Return the part that a loader of folders applies: of the authors' family crop and flip, else all."""
    by_policy = isinstance(augment, AutoAugment) and augment.family == "imagenet_authors"
    return CropFlip() if by_policy else augment


def policy_on_device(images_BCHW: Tensor, augment: Augment, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """Return uint8 images of a folder under the part that `before_policy` leaves out, a few at a time: it takes 50
    bytes for each of theirs."""
    if not isinstance(augment, AutoAugment) or augment.family != "imagenet_authors":
        return images_BCHW
    parts = zip(torch.split(images_BCHW, POLICY_AT_ONCE), torch.split(samples_B, POLICY_AT_ONCE), strict=True)
    return torch.cat(
        [autoaugment(x_PCHW, augment.policy, seed, epoch, samples_P, augment.family) for x_PCHW, samples_P in parts]
    )


def folder_transform(augment: Augment, info: DatasetInfo) -> Callable[[Image.Image], Image.Image]:
    """Return the transform of one decoded image to info.size, which draws from torch's global generator."""
    if isinstance(augment, NoAugment):
        return lambda image: central_crop(image, info.size)
    crop = transforms.RandomResizedCrop(info.size, scale=_AREA, ratio=_RATIO, interpolation=BICUBIC)
    steps: list[Callable[..., object]] = [crop, transforms.RandomHorizontalFlip()]
    if isinstance(augment, AutoAugment):
        steps.append(transforms.AutoAugment(POLICIES[augment.policy], fill=[GREY] * info.channels))
    if isinstance(augment, ByImage):
        steps.append(by_image_transform(augment))
    composed: Callable[[Image.Image], Image.Image] = transforms.Compose(steps)
    return composed


def central_crop(image: Image.Image, size: int) -> Image.Image:
    """Return the central square of 224/256 of the short side, resized bicubically (with antialiasing) to size x
    size."""
    cropped: Image.Image = functional.resized_crop(image, *_central(*image.size), [size, size], BICUBIC)
    return cropped


def imagenet_c_crop(image: Image.Image, size: int) -> Image.Image:
    """Return the image that ImageNet-C starts from: the short side resized bilinearly to 256/224 of `size` (with
    antialiasing), and the central size x size of that (`Resize(256)`, `CenterCrop(224)` in make_imagenet_c.py)."""
    resized = functional.resize(image, [size * 256 // 224], BILINEAR)
    cropped: Image.Image = functional.center_crop(resized, [size, size])
    return cropped


def crop_window(augment: Augment, width: int, height: int) -> tuple[int, int, int, int, bool]:
    """Return the window that `folder_transform` takes of an image of this size (top, left, height, width), and True if
    it is mirrored; drawn from torch's global generator, by the same numbers."""
    if isinstance(augment, NoAugment):
        return *_central(width, height), False
    of_this_size = torch.empty(1, height, width, device="meta")
    cut = transforms.RandomResizedCrop.get_params(of_this_size, list(_AREA), list(_RATIO))
    return *cut, bool(torch.rand(1) < 0.5)


def _central(width: int, height: int) -> tuple[int, int, int, int]:
    crop = int(min(width, height) * 224 / 256)
    return (height - crop + 1) // 2, (width - crop + 1) // 2, crop, crop


@contextmanager
def seeded_generator(sample_seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(sample_seed)
        yield


def sample_seeds(seed: int, epoch: int, samples_B: Tensor) -> list[int]:
    """Return the seed of each sample of an epoch for `seeded_generator`."""
    seeds: list[int] = randomness.bits(seed, "augment", epoch, samples_B, 1)[:, 0].tolist()
    return seeds
