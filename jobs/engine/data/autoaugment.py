"""AutoAugment (Cubuk et al., 2018) on a batch of small images, each under a transform of its own.

torchvision gives a whole batch one transform. Here the images that get the same kind of operation get it together, each
with a magnitude of its own: shifts, shears and rotations are a look-up of pixels, Brightness, Posterize and the like
one of values, in tables made by torchvision's functions; the rest are its formulae with a ratio for each image. So an
image becomes what torchvision's `transforms.AutoAugment` makes of it under the same draw, in as few operations for a
thousand images as for ten, and without waiting for the device. What is drawn is a function of (seed, epoch, sample).

Shapes: B images of a batch, A of them that are changed, T that get one kind of operation, O operations (a name and a
magnitude), C channels, H by W pixels, S = H W of them in a row; uint8 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import transforms
from torchvision.transforms import functional

from jobs.engine import randomness
from jobs.engine.device import moved

Policy = Literal["cifar10", "imagenet"]
Operation = tuple[str, float]
"""Name and magnitude, with its sign where it has one."""

POLICIES = {"cifar10": transforms.AutoAugmentPolicy.CIFAR10, "imagenet": transforms.AutoAugmentPolicy.IMAGENET}
GREY = 128
"""What shears, shifts and rotations move in, as in the authors' TPU code."""

_LEVELS = 10
_SIGNED = {
    "ShearX": 0.3, "ShearY": 0.3, "TranslateX": 150 / 331, "TranslateY": 150 / 331, "Rotate": 30.0,
    "Brightness": 0.9, "Color": 0.9, "Contrast": 0.9, "Sharpness": 0.9,
}  # fmt: skip
"""The largest magnitude of the operations that have a sign; the shifts' as a share of the image."""


def autoaugment(images_BCHW: Tensor, policy: Policy, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """The images, square, wherever they lie, under the policy's two operations each, as they are drawn for samples_B
    (int64, on the CPU)."""
    _, numbers_P22, kinds_O = _operations(policy, images_BCHW.shape[-1])
    tables = _tables(policy, images_BCHW.shape[-1], images_BCHW.device)
    chosen_B, chances_B2, signs_B2 = draw(len(_pairs(policy)), seed, epoch, samples_B)
    images_BCHW = images_BCHW.clone()
    for stage in range(2):
        places_A = (chances_B2[:, stage] <= _chances(policy)[chosen_B, stage]).nonzero()[:, 0]
        numbers_A = numbers_P22[chosen_B[places_A], stage, signs_B2[places_A, stage]]
        kinds_A = kinds_O[numbers_A]
        sizes = kinds_A.bincount(minlength=len(_KINDS)).tolist()
        both_2A = moved(torch.stack([places_A, numbers_A])[:, kinds_A.argsort()], images_BCHW.device)
        for (_, made), (places_T, numbers_T) in zip(_KINDS, torch.split(both_2A, sizes, dim=1), strict=True):
            if len(places_T):
                images_BCHW[places_T] = made(images_BCHW[places_T], numbers_T, tables)
    return images_BCHW


def draw(pairs: int, seed: int, epoch: int, samples_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each sample which of so many pairs of operations (B,), two chances in [0, 1) and two signs, 0 or 1 (B, 2): an
    operation is applied if its chance is at most its probability, and goes backward if its sign is 0."""
    drawn_B5 = randomness.uniform(seed, "autoaugment", epoch, samples_B, 5)
    return (drawn_B5[:, 0] * pairs).long(), drawn_B5[:, 1:3], (drawn_B5[:, 3:] < 0.5).long()


# --- the operations ---


@dataclass(frozen=True)
class _Tables:
    """What the operations look up, each at its number; rows of operations that do not use one are never read."""

    sources_OS: Tensor
    """int64: the pixel that each is taken from, S for grey."""
    values_OV: Tensor
    """uint8: what becomes of each of the 256 values."""
    ratios_2O: Tensor
    """float32: the weights of the image and of what it is blended with."""


Made = Callable[[Tensor, Tensor, _Tables], Tensor]
"""(images_TCHW, the numbers of their operations, the tables) -> images_TCHW."""


def _take_pixels(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    with_grey_TCS = pad(images_TCHW.flatten(2), (0, 1), value=GREY)
    sources_TCS = tables.sources_OS[numbers_T][:, None].expand(-1, images_TCHW.shape[1], -1)
    return with_grey_TCS.gather(2, sources_TCS).view_as(images_TCHW)


def _take_values(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    return tables.values_OV[numbers_T].gather(1, images_TCHW.flatten(1).long()).view_as(images_TCHW)


def _color(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    if images_TCHW.shape[1] == 1:  # torchvision leaves these alone, and blended with itself an image is rounded down
        return images_TCHW
    return _blended(images_TCHW, functional.rgb_to_grayscale(images_TCHW), numbers_T, tables)


def _contrast(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    mean_T111 = functional.rgb_to_grayscale(images_TCHW).float().mean(dim=(1, 2, 3), keepdim=True)
    return _blended(images_TCHW, mean_T111, numbers_T, tables)


def _sharpness(images_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    if images_TCHW.shape[-1] <= 2:
        return images_TCHW
    return _blended(images_TCHW, functional.adjust_sharpness(images_TCHW, 0), numbers_T, tables)


def _blended(images_TCHW: Tensor, others_TCHW: Tensor, numbers_T: Tensor, tables: _Tables) -> Tensor:
    ours_T111, theirs_T111 = tables.ratios_2O[:, numbers_T, None, None, None]
    blended_TCHW: Tensor = ours_T111 * images_TCHW + theirs_T111 * others_TCHW
    return blended_TCHW.clamp(0, 255).to(torch.uint8)


def equalize(images_TCHW: Tensor) -> Tensor:
    """Histogram equalisation of each channel of each image, in the rounding of Pillow and torchvision, which takes
    the channels one by one."""
    pixels_RN = images_TCHW.flatten(0, 1).flatten(1).long()
    counts_RV = pixels_RN.new_zeros(len(pixels_RN), 256).scatter_add_(1, pixels_RN, torch.ones_like(pixels_RN))
    brightest_R1 = pixels_RN.amax(dim=1, keepdim=True)
    step_R1 = (pixels_RN.shape[1] - counts_RV.gather(1, brightest_R1)) // 255
    below_RV = counts_RV.cumsum(dim=1) - counts_RV
    table_RV = ((below_RV + step_R1 // 2) // step_R1.clamp(min=1)).clamp(0, 255)
    table_RV[:, :1] = 0
    equal_RN = torch.where(step_R1 > 0, table_RV.gather(1, pixels_RN), pixels_RN)
    return equal_RN.to(torch.uint8).view_as(images_TCHW)


# --- torchvision's functions of one operation, which the tables are made by ---


def _affine(image_CHW: Tensor, **how: Any) -> Any:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return functional.affine(image_CHW, **still | how, fill=[_outside(image_CHW)])


def _outside(image_CHW: Tensor) -> float:
    return float(image_CHW.numel())


def _angle(slope: float) -> float:
    return math.degrees(math.atan(slope))


_MOVES: dict[str, Callable[[Tensor, float], Any]] = {
    "ShearX": lambda x_CHW, slope: _affine(x_CHW, shear=[_angle(slope), 0.0], center=[0, 0]),
    "ShearY": lambda x_CHW, slope: _affine(x_CHW, shear=[0.0, _angle(slope)], center=[0, 0]),
    "TranslateX": lambda x_CHW, pixels: _affine(x_CHW, translate=[int(pixels), 0]),
    "TranslateY": lambda x_CHW, pixels: _affine(x_CHW, translate=[0, int(pixels)]),
    "Rotate": lambda x_CHW, degrees: functional.rotate(x_CHW, degrees, fill=[_outside(x_CHW)]),
}
_RECOLOURINGS: dict[str, Callable[[Tensor, float], Any]] = {
    "Brightness": lambda x_CHW, more: functional.adjust_brightness(x_CHW, 1 + more),
    "Posterize": lambda x_CHW, bits: functional.posterize(x_CHW, int(bits)),
    "Solarize": lambda x_CHW, threshold: functional.solarize(x_CHW, threshold),
    "Invert": lambda x_CHW, _: functional.invert(x_CHW),
}
_KINDS: list[tuple[set[str], Made]] = [
    (set(_MOVES), _take_pixels),
    (set(_RECOLOURINGS), _take_values),
    ({"Color"}, _color),
    ({"Contrast"}, _contrast),
    ({"Sharpness"}, _sharpness),
    ({"AutoContrast"}, lambda images_TCHW, *_: functional.autocontrast(images_TCHW)),
    ({"Equalize"}, lambda images_TCHW, *_: equalize(images_TCHW)),
]
_KIND = {name: kind for kind, (names, _) in enumerate(_KINDS) for name in names}


@cache
def _tables(policy: Policy, size: int, device: torch.device) -> _Tables:
    """For images of so many pixels in height and width."""
    operations, _, _ = _operations(policy, size)
    positions_1HW = torch.arange(size * size, dtype=torch.float32).view(1, size, size)
    values_1HW = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    sources = [_MOVES[name](positions_1HW, by) if name in _MOVES else positions_1HW for name, by in operations]
    values = [_RECOLOURINGS[name](values_1HW, by) if name in _RECOLOURINGS else values_1HW for name, by in operations]
    ratios = [[1 + by for _, by in operations], [1 - (1 + by) for _, by in operations]]
    return _Tables(
        torch.stack(sources).flatten(1).long().to(device),
        torch.stack(values).flatten(1).to(device),
        torch.tensor(ratios, device=device),
    )


@cache
def _pairs(policy: Policy) -> list[tuple[tuple[str, float, int | None], tuple[str, float, int | None]]]:
    """(name, probability, level) twice for each pair of the policy."""
    found: list[tuple[tuple[str, float, int | None], tuple[str, float, int | None]]]
    found = transforms.AutoAugment(POLICIES[policy]).policies
    return found


@cache
def _chances(policy: Policy) -> Tensor:
    return torch.tensor([[probability for _, probability, _ in pair] for pair in _pairs(policy)], dtype=torch.float64)


@cache
def _operations(policy: Policy, size: int) -> tuple[list[Operation], Tensor, Tensor]:
    """The distinct operations, the number of each by (pair, stage, sign), and the kind of each."""
    operations: list[Operation] = []
    numbers = []
    for pair in _pairs(policy):
        for name, _, level in pair:
            for sign in (-1, 1):
                operation = (name, _magnitude(name, level, size, sign))
                if operation not in operations:
                    operations.append(operation)
                numbers.append(operations.index(operation))
    return operations, torch.tensor(numbers).view(-1, 2, 2), torch.tensor([_KIND[name] for name, _ in operations])


def _magnitude(name: str, level: int | None, size: int, sign: int) -> float:
    """Of a level from 0 to 9; linear, from torchvision's numbers in fp32."""
    if level is None:
        return 0.0
    if name == "Posterize":  # bits that are kept
        return 8.0 - round(level / ((_LEVELS - 1) / 4))
    if name == "Solarize":
        return torch.linspace(255.0, 0.0, _LEVELS)[level].item()
    largest = _SIGNED[name] * (size if name.startswith("Translate") else 1)
    return sign * torch.linspace(0.0, largest, _LEVELS)[level].item()
