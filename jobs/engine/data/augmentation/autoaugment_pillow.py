"""AutoAugment's operations as its authors' two public codes use them: by a level from 0 to 10, in Pillow's arithmetic.

tensorflow/models (research/autoaugment, for CIFAR) calls Pillow itself; tensorflow/tpu (efficientnet, for ImageNet)
restates Pillow in TensorFlow, up to roundings and half a slope in a shear. Here both are Pillow's, to the last bit,
for many images at once. The tables of positions and values are made by Pillow's own functions.

Two probable slips of theirs, which change next to nothing, are left out: the CIFAR code loses one grey value of 255 at
20 of 256 values where it converts to float and back, and its operation Cutout takes one coordinate for another.

Shapes: T images, C channels of them, H by W pixels, S = H W; uint8 throughout.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d

Code = Literal["cifar10_authors", "imagenet_authors"]
MOVES = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
RECOLOURINGS = {"Brightness", "Posterize", "Solarize", "SolarizeAdd", "Invert"}
ENHANCEMENTS = {"Brightness", "Color", "Contrast", "Sharpness"}

TRANSLATE_CONST = 250
"""Pixels at level 10 in the TPU code, whatever the size of the image: at level 9 nothing is left of 224."""
CUTOUT_VALUE = (125, 122, 113)
"""The colour that the operation Cutout leaves: CIFAR-10's mean in grey values."""


def magnitude(code: Code, name: str, level: int, sign: int) -> float:
    """Return the magnitude of a level: a slope, pixels, degrees, bits, a threshold, an addition, a factor or a size."""
    cifar10 = code == "cifar10_authors"
    if name in ENHANCEMENTS:
        return 0.1 + level * 1.8 / 10
    match name:
        case "ShearX" | "ShearY":
            return sign * level * 0.3 / 10
        case "TranslateX" | "TranslateY":
            return sign * (level if cifar10 else level * TRANSLATE_CONST / 10)
        case "Rotate":
            return sign * 3 * level
        case "Posterize":  # the number of remaining bits
            return 4 - 4 * level // 10 if cifar10 else 4 * level // 10
        case "Solarize":
            return 256 - 256 * level // 10 if cifar10 else 256 * level // 10
        case "SolarizeAdd":
            return 11 * level
        case "Cutout":
            return 2 * level
    return 0.0  # AutoContrast, Equalize, Invert


def sources(name: str, by: float, size: int) -> Tensor:
    """Return the pixel that each pixel of a square image is taken from, int64 of shape (S,); S outside the frame."""
    outside = size * size
    positions = Image.fromarray(np.arange(outside, dtype=np.int32).reshape(size, size))
    if name == "Rotate":
        moved = positions.rotate(by, fillcolor=outside)
    else:
        matrix = {
            "ShearX": (1, by, 0, 0, 1, 0),
            "ShearY": (1, 0, 0, by, 1, 0),
            "TranslateX": (1, 0, by, 0, 1, 0),
            "TranslateY": (1, 0, 0, 0, 1, by),
        }[name]
        moved = positions.transform((size, size), Image.Transform.AFFINE, matrix, fillcolor=outside)
    return torch.from_numpy(np.asarray(moved, dtype=np.int64).flatten())


def values(name: str, by: float) -> Tensor:
    """Return the new value for each of the 256, uint8 of shape (256,)."""
    ramp = np.arange(256, dtype=np.uint8)[None]
    image = Image.fromarray(ramp)
    match name:
        case "Brightness":
            image = ImageEnhance.Brightness(image).enhance(by)
        case "Posterize":
            image = Image.fromarray(ramp & ~np.uint8(2 ** (8 - int(by)) - 1))  # Pillow refuses 0 bits
        case "Solarize":
            image = ImageOps.solarize(image, int(by))
        case "SolarizeAdd":
            brighter = np.minimum(ramp + np.int64(by), 255)
            image = Image.fromarray(np.where(ramp < 128, brighter, ramp).astype(np.uint8))
        case "Invert":
            image = ImageOps.invert(image)
    return torch.from_numpy(np.asarray(image).flatten())


def color(images_T3HW: Tensor, factors_T: Tensor) -> Tensor:
    """Blend with the grey image."""
    return _blend(_grey(images_T3HW), images_T3HW, factors_T)


def contrast(images_T3HW: Tensor, factors_T: Tensor) -> Tensor:
    """Blend with the grey image's mean, rounded."""
    grey_TS = _grey(images_T3HW).flatten(1)
    pixels = grey_TS.shape[1]
    mean_T = (2 * grey_TS.sum(dim=1) + pixels).div(2 * pixels, rounding_mode="floor")
    return _blend(mean_T[:, None, None, None], images_T3HW, factors_T)


def sharpness(images_TCHW: Tensor, factors_T: Tensor) -> Tensor:
    """Blend with the image smoothed by a 3x3 kernel whose middle weighs 5 and every other pixel 1; the border stays."""
    smooth_TCHW = images_TCHW.float()
    if min(images_TCHW.shape[2:]) >= 3:
        sums_TCHW = avg_pool2d(smooth_TCHW, 3, stride=1, divisor_override=1) + 4 * smooth_TCHW[:, :, 1:-1, 1:-1]
        smooth_TCHW[:, :, 1:-1, 1:-1] = (sums_TCHW / 13 + 0.5).floor()
    return _blend(smooth_TCHW, images_TCHW, factors_T)


def autocontrast(images_TCHW: Tensor) -> Tensor:
    """Stretch each channel to 0 … 255, by a table in double precision; one of a single value stays."""
    pixels_RS = images_TCHW.flatten(2).flatten(0, 1)
    low_R1, high_R1 = (edge_R1.double() for edge_R1 in pixels_RS.aminmax(dim=1, keepdim=True))
    ramp_V = torch.arange(256, dtype=torch.float64, device=images_TCHW.device)
    white_R1 = torch.full_like(low_R1, 255)  # a number over a tensor is its reciprocal, rounded twice
    scale_R1 = white_R1 / (high_R1 - low_R1).clamp(min=1)
    table_RV = (ramp_V * scale_R1 + -low_R1 * scale_R1).trunc().clamp(0, 255)
    table_RV = torch.where(high_R1 > low_R1, table_RV, ramp_V).to(torch.uint8)
    return table_RV.gather(1, pixels_RS.long()).view_as(images_TCHW)


def _grey(images_T3HW: Tensor) -> Tensor:
    """Return the luma of ITU-R 601-2 in Pillow's fixed point, int32 of shape (T, 1, H, W)."""
    red_T1HW, green_T1HW, blue_T1HW = torch.split(images_T3HW.int(), 1, dim=1)
    grey_T1HW: Tensor = (19595 * red_T1HW + 38470 * green_T1HW + 7471 * blue_T1HW + 0x8000) >> 16
    return grey_T1HW


def _blend(first_TCHW: Tensor, images_TCHW: Tensor, factors_T: Tensor) -> Tensor:
    """Return first + factor (images - first) in single precision, cut off towards 0."""
    first_TCHW = first_TCHW.float()
    blended_TCHW = first_TCHW + factors_T[:, None, None, None] * (images_TCHW - first_TCHW)
    return blended_TCHW.clamp(0, 255).to(torch.uint8)
