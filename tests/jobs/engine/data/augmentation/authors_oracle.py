"""AutoAugment as its authors' group published it, image by image with Pillow and NumPy.

Written from the public codes' facts: tensorflow/models research/autoaugment for CIFAR, whose images are RGBA while a
sub-policy works on them; tensorflow/tpu efficientnet for ImageNet, in which a move leaves grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

Pixels = NDArray[np.uint8]
CIFAR10 = ("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "Color", "Contrast", "Brightness",
           "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout")  # fmt: skip
IMAGENET = (*CIFAR10[:-1], "SolarizeAdd")
ENHANCERS = {
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Brightness": ImageEnhance.Brightness,
    "Sharpness": ImageEnhance.Sharpness,
}


def cifar10(image: Image.Image, name: str, level: int, sign: int, centre: tuple[int, int]) -> Image.Image:
    """An RGBA image under one operation."""
    if name in ENHANCERS:
        return ENHANCERS[name](image).enhance(0.1 + 0.18 * level)
    if name == "Cutout":
        pixels = np.array(image)
        pixels[box(image.height, centre, int(2 * level))] = (125, 122, 113, 0)
        return Image.fromarray(pixels)
    if name == "Rotate":
        return image.rotate(sign * int(3 * level))
    matrix = {
        "ShearX": (1, sign * 0.03 * level, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, sign * 0.03 * level, 1, 0),
        "TranslateX": (1, 0, sign * int(level), 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, sign * int(level)),
    }
    if name in matrix:
        return image.transform(image.size, Image.Transform.AFFINE, matrix[name])
    colours = image.convert("RGB")
    match name:
        case "AutoContrast":
            colours = ImageOps.autocontrast(colours)
        case "Equalize":
            colours = ImageOps.equalize(colours)
        case "Invert":
            colours = ImageOps.invert(colours)
        case "Posterize":
            bits = 4 - int(0.4 * level)  # of none nothing is left; today's Pillow refuses that
            colours = ImageOps.posterize(colours, bits) if bits else Image.new("RGB", image.size)
        case "Solarize":
            colours = ImageOps.solarize(colours, 256 - int(25.6 * level))
    return colours.convert("RGBA")


def imagenet(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
    """An RGB image under one operation."""
    grey = (128, 128, 128)
    if name in ENHANCERS:
        return ENHANCERS[name](image).enhance(0.1 + 0.18 * level)
    if name == "Rotate":
        return image.rotate(sign * 3 * level, fillcolor=grey)
    matrix = {
        "ShearX": (1, sign * 0.03 * level, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, sign * 0.03 * level, 1, 0),
        "TranslateX": (1, 0, sign * level / 10 * 250, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, sign * level / 10 * 250),
    }
    if name in matrix:
        return image.transform(image.size, Image.Transform.AFFINE, matrix[name], fillcolor=grey)
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageOps.invert(image)
    pixels = np.asarray(image).astype(int)
    match name:
        case "Posterize":  # a shift out and back
            shift = 8 - int(0.4 * level)
            pixels = pixels >> shift << shift
        case "Solarize":
            pixels = np.where(pixels < int(25.6 * level), pixels, 255 - pixels)
        case "SolarizeAdd":
            pixels = np.where(pixels < 128, (pixels + int(11 * level)).clip(0, 255), pixels)
    return Image.fromarray(pixels.astype(np.uint8))


def box(size: int, centre: tuple[int, int], side: int) -> tuple[slice, slice]:
    """What a square covers of an image: from its centre less half its side to its centre and half its side."""
    row, column = (slice(max(0, place - side // 2), min(size, place + side // 2)) for place in centre)
    return row, column


def unwrapped(image: Image.Image, mean: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    """An RGBA image normalised, 0 where it is transparent; (H, W, 3)."""
    pixels = np.asarray(image)
    colours = (pixels[:, :, :3] / 255.0 - mean) / std
    colours[pixels[:, :, 3] == 0] = 0
    return colours


def cropped(
    normalised: NDArray[np.float64], top: int, left: int, mirrored: bool, centre: tuple[int, int]
) -> NDArray[np.float64]:
    """Padded by 4 zeros and cropped, mirrored or not, under a Cutout of 16 pixels; (H, W, 3)."""
    size = len(normalised)
    padded = np.zeros((size + 8, size + 8, 3))
    padded[4:-4, 4:-4] = normalised
    image = padded[top : top + size, left : left + size]
    image = image[:, ::-1].copy() if mirrored else image.copy()
    image[box(size, centre, 16)] = 0
    return image
