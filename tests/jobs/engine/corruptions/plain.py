"""The corruptions by the published method: one image at a time, pixel by pixel where it says so, in float64 by
scikit-image and SciPy. An oracle for the tests and the yardstick of `benchmarks/corruptions.py`.

They draw the same numbers in the same order as `jobs.engine.corruptions`, and take their parameters from it. Frost and
spatter are not here: the one is not the published one, the other is OpenCV's in both.
"""

from __future__ import annotations

import io
import math
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.ndimage import zoom as scipy_zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

Bytes = NDArray[np.uint8]
Array = NDArray[Any]


def _floats(image: Bytes) -> Array:
    return image / 255.0


def _bytes(x: Array) -> Bytes:
    return np.uint8(np.clip(x, 0, 1) * 255 + 1e-9)


def gaussian_noise(image: Bytes, c: float, draw: Generator) -> Bytes:
    return _bytes(_floats(image) + c * draw.standard_normal(image.shape, np.float32))


def shot_noise(image: Bytes, c: float, draw: Generator) -> Bytes:
    return _bytes(draw.poisson(_floats(image) * c) / c)


def impulse_noise(image: Bytes, c: float, draw: Generator) -> Bytes:
    drawn = draw.random(image.shape, np.float32)
    pepper, salt = drawn < c / 2, drawn >= 1 - c / 2
    return _bytes(np.where(pepper, 0, np.where(salt, 1, _floats(image))))


def speckle_noise(image: Bytes, c: float, draw: Generator) -> Bytes:
    x = _floats(image)
    return _bytes(x + x * c * draw.standard_normal(image.shape, np.float32))


def gaussian_blur(image: Bytes, c: float, draw: Generator) -> Bytes:
    return _bytes(gaussian(_floats(image), sigma=c, channel_axis=-1))


def glass_blur(image: Bytes, c: tuple[float, int, int], draw: Generator) -> Bytes:
    sigma, reach, times = c
    x = _bytes(gaussian(_floats(image), sigma=sigma, channel_axis=-1))
    side = len(x)
    inner = [at for at in range(reach + 1, side - reach + 1) if at < side]
    for _ in range(times):
        shifts = draw.integers(-reach, reach, size=(2, len(inner) ** 2)).reshape(2, len(inner), len(inner))
        for row in reversed(range(len(inner))):
            for column in reversed(range(len(inner))):
                h, w = inner[row], inner[column]
                down, right = shifts[:, row, column]
                x[h, w], x[h + down, w + right] = x[h + down, w + right], x[h, w]
    return _bytes(gaussian(_floats(x), sigma=sigma, channel_axis=-1))


def defocus_blur(image: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    radius, softened = c
    at, kernel_side = (np.arange(-8, 9), 3) if radius <= 8 else (np.arange(-radius, radius + 1), 5)
    columns, rows = np.meshgrid(at, at)
    disk = np.array((columns**2 + rows**2) <= radius**2, dtype=np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), ksize=(kernel_side, kernel_side), sigmaX=softened)
    x = _floats(image)
    return _bytes(np.stack([cv2.filter2D(x[..., d], -1, kernel) for d in range(3)], axis=-1))


def _motion(image: Bytes, radius: int, sigma: float, angle: float) -> Bytes:
    """As ImageMagick computes it, in 16 bits; `test_imagemagick` holds the program itself against ours."""
    steps = range(2 * radius + 1)
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in steps]
    rows, columns = (np.arange(side) for side in image.shape[:2])
    total = np.zeros(image.shape)
    for step in steps:
        right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        from_rows, from_columns = np.clip(rows + down, 0, rows[-1]), np.clip(columns + right, 0, columns[-1])
        total += weights[step] / sum(weights) * (image[from_rows][:, from_columns] * 257.0)
    return np.uint8(np.floor(total + 0.5) // 257)


def motion_blur(image: Bytes, c: tuple[int, float], draw: Generator) -> Bytes:
    return _motion(image, c[0], c[1], draw.uniform(-45, 45))


def _clipped_zoom(x: Array, factor: float) -> Array:
    side = len(x)
    taken = math.ceil(side / factor)
    top = (side - taken) // 2
    zoomed = scipy_zoom(x[top : top + taken, top : top + taken], (factor, factor, 1), order=1)
    trimmed = (len(zoomed) - side) // 2
    return zoomed[trimmed : trimmed + side, trimmed : trimmed + side]


def zoom_blur(image: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    x, factors = _floats(image), np.arange(1, *c)
    return _bytes((x + sum(_clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1))


def snow(image: Bytes, c: tuple[float, ...], draw: Generator) -> Bytes:
    x = _floats(image)
    layer = c[0] + c[1] * draw.standard_normal((*x.shape[:2], 1), np.float32)
    layer = _clipped_zoom(layer.astype(np.float64), c[2])
    layer[layer < c[3]] = 0
    layer = _floats(_motion(_bytes(layer), int(c[4]), c[5], draw.uniform(-135, -45)))
    grey = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5)
    return _bytes(x + layer + np.rot90(layer, k=2))


def fog(image: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    x = _floats(image)
    foggy = x + c[0] * _plasma(len(x), c[1], draw)[..., None]
    return _bytes(foggy * x.max() / (x.max() + c[0]))


def _plasma(side: int, decay: float, draw: Generator) -> Array:
    """The diamond-square algorithm, a point at a time."""
    size = 2 ** math.ceil(math.log2(side))
    heights = np.zeros((size, size))
    step, deviation = size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        for down, right, around in (
            (half, half, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (0, half, ((0, -half), (0, half), (-half, 0), (half, 0))),
            (half, 0, ((0, -half), (0, half), (-half, 0), (half, 0))),
        ):
            wobble = deviation * draw.uniform(-deviation, deviation, (count, count))
            for row in range(count):
                for column in range(count):
                    h, w = row * step + down, column * step + right
                    mean = sum(heights[(h + dh) % size, (w + dw) % size] for dh, dw in around) / 4
                    heights[h, w] = mean + wobble[row, column]
        step, deviation = half, deviation / decay
    heights -= heights.min()
    return heights[:side, :side] / heights.max()


def _hsv(image: Bytes, channel: int, times: float, plus: float) -> Bytes:
    hsv = rgb2hsv(_floats(image))
    hsv[..., channel] = np.clip(hsv[..., channel] * times + plus, 0, 1)
    return _bytes(hsv2rgb(hsv))


def brightness(image: Bytes, c: float, draw: Generator) -> Bytes:
    return _hsv(image, 2, 1, c)


def saturate(image: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    return _hsv(image, 1, *c)


def contrast(image: Bytes, c: float, draw: Generator) -> Bytes:
    x = _floats(image)
    means = x.mean(axis=(0, 1), keepdims=True)
    return _bytes((x - means) * c + means)


def elastic_transform(image: Bytes, c: tuple[float, float, float], draw: Generator) -> Bytes:
    x = np.float32(image) / 255
    side = len(x)
    amplitude, sigma, shift = (value * (244 if side == 224 else side) for value in c)
    centre, third = np.float32([side // 2] * 2), side // 3
    corners = np.float32([centre + third, [centre[0] + third, centre[1] - third], centre - third])
    moved = corners + draw.uniform(-shift, shift, size=corners.shape).astype(np.float32)
    x = cv2.warpAffine(x, cv2.getAffineTransform(corners, moved), (side, side), borderMode=cv2.BORDER_REFLECT_101)
    if not amplitude:
        return _bytes(x)
    down, right = (
        amplitude * gaussian(draw.uniform(-1, 1, (side, side)), sigma, mode="reflect", truncate=3) for _ in range(2)
    )
    columns, rows, channels = np.meshgrid(np.arange(side), np.arange(side), np.arange(3))
    places = [np.ravel(at) for at in (rows + down[..., None], columns + right[..., None], channels)]
    return _bytes(map_coordinates(x, places, order=1, mode="reflect").reshape(x.shape))


def pixelate(image: Bytes, c: float, draw: Generator) -> Bytes:
    side = len(image)
    small = Image.fromarray(image).resize((int(side * c), int(side * c)), Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.BOX))


def jpeg_compression(image: Bytes, c: int, draw: Generator) -> Bytes:
    output = io.BytesIO()
    Image.fromarray(image).save(output, "JPEG", quality=c)
    return np.asarray(Image.open(output))


PLAIN = {
    function.__name__: function
    for function in (
        gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow, fog,
        brightness, contrast, elastic_transform, pixelate, jpeg_compression, speckle_noise, gaussian_blur, saturate,
    )
}  # fmt: skip
