"""AutoAugment (Cubuk et al., 2018) on a batch of small images, each under a transform of its own.

torchvision gives a whole batch one transform. Here the images of a batch that get the same operation with the same
magnitude get it together, by torchvision's functions, so that an image becomes what torchvision's
`transforms.AutoAugment` makes of it under the same draw. What is drawn is a function of (seed, epoch, sample).

Shapes: B images of a batch, T of them that get one operation, C channels, H by W pixels, uint8 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional

from jobs.engine import randomness

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
_ALONE = -1
"""In place of an operation's number: the image is left alone."""


def autoaugment(images_BCHW: Tensor, policy: Policy, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """The images, wherever they lie, under the policy's two operations each, as they are drawn for samples_B (int64, on
    the CPU)."""
    operations, numbers_P22 = _table(policy, images_BCHW.shape[-1])
    chosen_B, chances_B2, signs_B2 = draw(len(_pairs(policy)), seed, epoch, samples_B)
    images_BCHW = images_BCHW.clone()
    for stage in range(2):
        applied_B = chances_B2[:, stage] <= _chances(policy)[chosen_B, stage]
        numbers_B = torch.where(applied_B, numbers_P22[chosen_B, stage, signs_B2[:, stage]], _ALONE)
        for number in sorted(set(numbers_B.tolist())):
            if number != _ALONE:
                mine_T = (numbers_B == number).nonzero()[:, 0].to(images_BCHW.device)
                images_BCHW[mine_T] = apply(operations[number], images_BCHW[mine_T])
    return images_BCHW


def draw(pairs: int, seed: int, epoch: int, samples_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each sample which of so many pairs of operations (B,), two chances in [0, 1) and two signs, 0 or 1 (B, 2): an
    operation is applied if its chance is at most its probability, and goes backward if its sign is 0."""
    drawn_B5 = randomness.uniform(seed, "autoaugment", epoch, samples_B, 5)
    return (drawn_B5[:, 0] * pairs).long(), drawn_B5[:, 1:3], (drawn_B5[:, 3:] < 0.5).long()


def apply(operation: Operation, images_TCHW: Tensor) -> Tensor:
    """The images under one operation of torchvision's statement of AutoAugment."""
    name, magnitude = operation
    made_TCHW: Tensor = _OPERATIONS[name](images_TCHW, magnitude)
    return made_TCHW


def equalize(images_TCHW: Tensor) -> Tensor:
    """Histogram equalisation of each channel of each image, in the rounding of Pillow and torchvision, which takes
    the channels one by one."""
    pixels_RN = images_TCHW.flatten(0, 1).flatten(1).long()
    rows = len(pixels_RN)
    shifted_RN = pixels_RN + 256 * torch.arange(rows, device=pixels_RN.device)[:, None]
    counts_RV = shifted_RN.flatten().bincount(minlength=256 * rows).view(rows, 256)
    brightest_R1 = pixels_RN.amax(dim=1, keepdim=True)
    step_R1 = (pixels_RN.shape[1] - counts_RV.gather(1, brightest_R1)) // 255
    below_RV = counts_RV.cumsum(dim=1) - counts_RV
    table_RV = ((below_RV + step_R1 // 2) // step_R1.clamp(min=1)).clamp(0, 255)
    table_RV[:, :1] = 0
    equal_RN = torch.where(step_R1 > 0, table_RV.gather(1, pixels_RN), pixels_RN)
    return equal_RN.to(torch.uint8).view_as(images_TCHW)


def _moved(images_TCHW: Tensor, **how: Any) -> Any:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return functional.affine(images_TCHW, **still | how, fill=[float(GREY)] * images_TCHW.shape[1])


def _angle(slope: float) -> float:
    return math.degrees(math.atan(slope))


_OPERATIONS: dict[str, Callable[[Tensor, float], Any]] = {
    "ShearX": lambda x_TCHW, slope: _moved(x_TCHW, shear=[_angle(slope), 0.0], center=[0, 0]),
    "ShearY": lambda x_TCHW, slope: _moved(x_TCHW, shear=[0.0, _angle(slope)], center=[0, 0]),
    "TranslateX": lambda x_TCHW, pixels: _moved(x_TCHW, translate=[int(pixels), 0]),
    "TranslateY": lambda x_TCHW, pixels: _moved(x_TCHW, translate=[0, int(pixels)]),
    "Rotate": lambda x_TCHW, degrees: functional.rotate(x_TCHW, degrees, fill=[float(GREY)] * x_TCHW.shape[1]),
    "Brightness": lambda x_TCHW, more: functional.adjust_brightness(x_TCHW, 1 + more),
    "Color": lambda x_TCHW, more: functional.adjust_saturation(x_TCHW, 1 + more),
    "Contrast": lambda x_TCHW, more: functional.adjust_contrast(x_TCHW, 1 + more),
    "Sharpness": lambda x_TCHW, more: functional.adjust_sharpness(x_TCHW, 1 + more),
    "Posterize": lambda x_TCHW, bits: functional.posterize(x_TCHW, int(bits)),
    "Solarize": lambda x_TCHW, threshold: functional.solarize(x_TCHW, threshold),
    "AutoContrast": lambda x_TCHW, _: functional.autocontrast(x_TCHW),
    "Equalize": lambda x_TCHW, _: equalize(x_TCHW),
    "Invert": lambda x_TCHW, _: functional.invert(x_TCHW),
}


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
def _table(policy: Policy, size: int) -> tuple[list[Operation], Tensor]:
    """The distinct operations, and the number of each by (pair, stage, sign)."""
    operations: list[Operation] = []
    numbers = []
    for pair in _pairs(policy):
        for name, _, level in pair:
            for sign in (-1, 1):
                operation = (name, _magnitude(name, level, size, sign))
                if operation not in operations:
                    operations.append(operation)
                numbers.append(operations.index(operation))
    return operations, torch.tensor(numbers).view(-1, 2, 2)


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
