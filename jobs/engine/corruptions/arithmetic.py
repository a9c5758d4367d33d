"""Functions that several corruptions share: bytes and colours, Gaussian blurs, motion and zoom.

Shapes: images are H by W pixels of C channels, float32 in [0, 1] (`x_HWC`) or uint8 (`bytes_HWC`).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

cv2.setNumThreads(0)  # a job divides its cores among loader processes; OpenCV's own threads would compete, or hang
# in a forked child

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
AnyFloats = TypeVar("AnyFloats", Floats, Doubles)


def to_floats(bytes_HWC: Bytes) -> Floats:
    """Return 0 … 255 as [0, 1]."""
    return bytes_HWC.astype(np.float32) / np.float32(255)


def to_doubles(bytes_HWC: Bytes) -> Doubles:
    """Return 0 … 255 as [0, 1], for blurs: they leave many values just below white, which fp32 would round to white."""
    return bytes_HWC / 255.0


def to_bytes(x_HWC: AnyFloats) -> Bytes:
    """Return [0, 1] as 0 … 255, clipped, and cut off like the published images instead of rounded; a value that
    rounding in this precision may have left just below a whole number counts as that number."""
    below = 1e-3 if x_HWC.dtype == np.float32 else 1e-9
    return (np.clip(x_HWC, 0, 1) * 255 + below).astype(np.uint8)


def luma(x_HWC: Floats) -> Floats:
    """Return the grey image (H, W, 1) by the weights of ITU-R 601; a grey one is itself."""
    if x_HWC.shape[2] == 1:
        return x_HWC
    weights_C = np.array([0.299, 0.587, 0.114], np.float32)
    return (x_HWC @ weights_C)[..., None]


def gaussian(x_HWC: AnyFloats, sigma: float) -> AnyFloats:
    """Return the Gaussian blur cut off at 4 sigma, the border repeated."""
    radius = int(4 * sigma + 0.5)
    if not radius:
        return x_HWC
    side = 2 * radius + 1
    blurred = cv2.GaussianBlur(x_HWC, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred.reshape(x_HWC.shape)  # type: ignore[return-value]


def gaussian_reflected(x_HW: Floats, sigma: float) -> Floats:
    """Return the Gaussian blur cut off at 3 sigma, the image mirrored at its border as often as that takes.

    A cosine transform turns it into a product: sigma may be most of the image, where a sum over the kernel is slow.
    """
    response_H, response_W = (_response(length, sigma) for length in x_HW.shape)
    transformed_HW = fft.dctn(x_HW, type=2, norm="ortho")
    return fft.idctn(transformed_HW * response_H[:, None] * response_W, type=2, norm="ortho")  # type: ignore[no-any-return]


@cache
def _response(length: int, sigma: float) -> Floats:
    """Return the factor by which the blur scales each cosine of a signal of this length."""
    radius = int(3 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    frequencies = np.pi * np.arange(length) / length
    response = np.cos(frequencies[:, None] * offsets) @ (kernel / kernel.sum())
    return response.astype(np.float32)  # type: ignore[no-any-return]


def motion(bytes_HWC: Bytes, radius: int, sigma: float, angle: float) -> Bytes:
    """Return the motion blur of ImageMagick 6: each pixel is a mean over 2 radius + 1 pixels on one side of it, along
    the angle (degrees), weighted by half a Gaussian; offsets are whole pixels, the border is repeated.

    ImageMagick computes in 16 bits, 257 to a grey level, and rounds to them; the 8 bits it saves are cut off. So the
    sum is in float64: in float32 a few values in 100,000 would come out a grey level off.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    along = np.deg2rad(angle)
    columns = np.ceil(steps * math.cos(along) - 0.5).astype(int)
    rows = np.ceil(steps * math.sin(along) - 0.5).astype(int)
    reach = 2 * radius
    padded = cv2.copyMakeBorder(bytes_HWC, reach, reach, reach, reach, cv2.BORDER_REPLICATE) * 257.0
    height, width = bytes_HWC.shape[:2]
    total = np.zeros((height, width, *padded.shape[2:]))
    for weight, row, column in zip(weights.tolist(), rows + reach, columns + reach, strict=True):
        cv2.scaleAdd(padded[row : row + height, column : column + width], weight, total, dst=total)
    return ((total + 0.5).astype(np.uint16) // 257).astype(np.uint8).reshape(bytes_HWC.shape)


def clipped_zoom(x_HWC: Floats, factor: float) -> Floats:
    """Return the middle of the image enlarged to its full size, bilinearly between the centres of its corners."""
    if factor == 1:
        return x_HWC
    low_S, share_S = _zoom_positions(x_HWC.shape[0], factor)
    for _ in range(2):  # along the rows, and along what the transpose makes of the columns
        between_SWC = np.take(x_HWC[1:] - x_HWC[:-1], low_S, axis=0)
        between_SWC *= share_S[:, None, None]
        between_SWC += np.take(x_HWC, low_S, axis=0)
        x_HWC = cv2.transpose(between_SWC).reshape(between_SWC.shape)  # type: ignore[assignment]  # float32 it stays
    return x_HWC


@cache
def _zoom_positions(side: int, factor: float) -> tuple[NDArray[np.int64], Floats]:
    """Return for each of the `side` pixels of the result the pixel before it in the image, and the distance to that."""
    taken = math.ceil(side / factor)
    enlarged = round(taken * factor)
    trimmed = (enlarged - side) // 2
    at_S = (np.arange(side) + trimmed) * ((taken - 1) / max(enlarged - 1, 1)) + (side - taken) // 2
    low_S = np.minimum(at_S.astype(np.int64), side - 2)
    return low_S, (at_S - low_S).astype(np.float32)
