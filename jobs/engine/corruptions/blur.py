"""Blurs. `c` holds the published parameters of the severity."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from jobs.engine.corruptions.arithmetic import (
    Bytes,
    Doubles,
    Floats,
    clipped_zoom,
    gaussian,
    motion,
    to_bytes,
    to_doubles,
    to_floats,
)


def gaussian_blur(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Blur with a Gaussian of standard deviation c; nothing is drawn."""
    return to_bytes(gaussian(to_doubles(bytes_HWC), c))


def defocus_blur(bytes_HWC: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    """Blur with a disk of radius c[0], its edge softened by a Gaussian of c[1]; nothing is drawn.

    Some of the disks, in float32, sum to a little less than one: so flat areas are one grey level darker, as in the
    published images.
    """
    blurred_HWC: Doubles = cv2.filter2D(to_doubles(bytes_HWC), -1, _disk(*c)).reshape(bytes_HWC.shape)  # type: ignore[assignment]
    return to_bytes(blurred_HWC)


@cache
def _disk(radius: float, softened: float) -> Floats:
    reach = 8 if radius <= 8 else int(radius)
    side = 3 if radius <= 8 else 5
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float32)
    kernel: Floats = cv2.GaussianBlur(disk / disk.sum(), (side, side), softened)
    return kernel


def motion_blur(bytes_HWC: Bytes, c: tuple[int, float], draw: Generator) -> Bytes:
    """Blur with radius c[0] and standard deviation c[1], along a direction within 45 degrees of the horizontal."""
    return motion(bytes_HWC, *c, draw.uniform(-45, 45))


def zoom_blur(bytes_HWC: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    """Return the mean of the image and its enlargements by 1, 1 + c[1], … below c[0]; nothing is drawn."""
    x_HWC = to_floats(bytes_HWC)
    factors = np.arange(1, *c)
    total_HWC = x_HWC.copy()
    for factor in factors.tolist():
        total_HWC += clipped_zoom(x_HWC, factor)
    return to_bytes(total_HWC / np.float32(len(factors) + 1))


def glass_blur(bytes_HWC: Bytes, c: tuple[float, int, int], draw: Generator) -> Bytes:
    """Replace each pixel by a copy of one at most c[1] away, c[2] times, between two Gaussian blurs of c[0]."""
    sigma, reach, times = c
    blurred_HWC = to_bytes(gaussian(to_doubles(bytes_HWC), sigma))
    for _ in range(times):
        source_N = _copied_from(blurred_HWC.shape[0], reach, draw)
        blurred_HWC = blurred_HWC.reshape(-1, blurred_HWC.shape[2])[source_N].reshape(blurred_HWC.shape)
    return to_bytes(gaussian(to_doubles(blurred_HWC), sigma))


def _copied_from(side: int, reach: int, draw: Generator) -> NDArray[np.int64]:
    """Return the pixel, of N = side^2, that each one is a copy of in the end, when from the last pixel to the first
    each takes over its neighbour's value of that moment.

    The published code means to swap the two, but swaps two views of the image, which only copies: so do the
    published files. A pixel that copies a later one gets the value that this one has copied before; these chains are
    followed for all pixels at once, their length halved in each turn.
    """
    pixels_N = np.arange(side * side)
    inner = np.arange(reach + 1, side - reach + 1)
    inner = inner[inner < side]
    pixels_M = (inner[:, None] * side + inner).ravel()
    down_M, right_M = draw.integers(-reach, reach, size=(2, len(pixels_M)))
    taken_M = pixels_M + down_M * side + right_M
    is_inner_N = np.zeros(side * side, bool)
    is_inner_N[pixels_M] = True
    again_M = (taken_M > pixels_M) & is_inner_N[taken_M]  # its neighbour was overwritten before
    source_N, next_N = pixels_N.copy(), pixels_N.copy()
    source_N[pixels_M] = taken_M
    next_N[pixels_M[again_M]] = taken_M[again_M]
    while True:
        further_N = next_N[next_N]
        if np.array_equal(further_N, next_N):
            return source_N[next_N]
        next_N = further_N
