"""Weather. `c` holds the published parameters of the severity."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from jobs.engine.corruptions.arithmetic import (
    Bytes,
    Floats,
    clipped_zoom,
    gaussian,
    gaussian_reflected,
    luma,
    motion,
    to_bytes,
    to_floats,
)

WATER: Floats = np.array([[[175, 238, 238]]], np.float32) / np.float32(255)
MUD: Floats = np.array([[[63, 42, 20]]], np.float32) / np.float32(255)


def snow(bytes_HWC: Bytes, c: tuple[float, ...], draw: Generator) -> Bytes:
    """Whiten the image, by a share 1 - c[6], under flakes: normal noise of mean c[0] and deviation c[1], enlarged c[2]
    times, without values below c[3], and blown along by a motion blur of radius c[4] and deviation c[5]."""
    mean, deviation, zoom, threshold, radius, sigma, original_share = c
    side = bytes_HWC.shape[0]
    flakes_HW1 = np.float32(mean) + np.float32(deviation) * draw.standard_normal((side, side, 1), np.float32)
    flakes_HW1 = clipped_zoom(flakes_HW1, zoom)
    flakes_HW1[flakes_HW1 < threshold] = 0
    flakes_HW1 = to_floats(motion(to_bytes(flakes_HW1), int(radius), sigma, draw.uniform(-135, -45)))
    x_HWC = to_floats(bytes_HWC)
    whitened_HWC = np.maximum(x_HWC, luma(x_HWC) * 1.5 + 0.5)
    return to_bytes(
        original_share * x_HWC + (1 - original_share) * whitened_HWC + flakes_HW1 + np.rot90(flakes_HW1, k=2)
    )


def frost(bytes_HWC: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    """Add c[1] of an image of frost to c[0] of the image. The published ones are photographs; this draws crystals, so
    its numbers are comparable with no others."""
    x_HWC = to_floats(bytes_HWC)
    return to_bytes(c[0] * x_HWC + c[1] * _crystals(bytes_HWC.shape, draw))


def _crystals(shape: tuple[int, ...], draw: Generator) -> Floats:
    """Return bluish-white ridges in many directions, along the lines where bands of smooth noise cross zero."""
    side = shape[0]
    ridges_HW = np.zeros((side, side), np.float32)
    for octave, sigma in enumerate((side / 8, side / 16, side / 32)):
        band_HW = gaussian_reflected(draw.standard_normal((side, side), np.float32), max(sigma, 0.5))
        ridges_HW += np.exp(-np.abs(band_HW) / (0.25 * band_HW.std())) / 2**octave
    ridges_HW = ridges_HW / ridges_HW.max()
    tint_C = np.array([0.86, 0.94, 1.0], np.float32) if shape[2] == 3 else np.ones(1, np.float32)
    return (0.25 + 0.75 * ridges_HW[..., None]) * tint_C  # type: ignore[no-any-return]


def fog(bytes_HWC: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    """Add c[0] of a plasma whose detail fades by c[1] from scale to scale, dimmed to the image's brightest value."""
    x_HWC = to_floats(bytes_HWC)
    brightest = x_HWC.max()
    foggy_HWC = x_HWC + np.float32(c[0]) * plasma(bytes_HWC.shape[0], c[1], draw)[..., None]
    return to_bytes(foggy_HWC * (brightest / (brightest + np.float32(c[0]))))


def plasma(side: int, decay: float, draw: Generator) -> Floats:
    """Return a height map in [0, 1] by the diamond-square algorithm, (side, side), cut from the next power of two, at
    whose edges it wraps. Each scale adds a uniform deviation of up to 100^2, decay^2 times less from one to the
    next."""
    size = 1 << (side - 1).bit_length()
    heights = np.zeros((size, size))
    step, deviation = size, 100.0
    while step >= 2:
        half = step // 2

        def deviating(sums: NDArray[np.float64], deviation: float = deviation) -> NDArray[np.float64]:
            return sums / 4 + deviation * draw.uniform(-deviation, deviation, sums.shape)

        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = deviating(pairs + np.roll(pairs, -1, axis=1))
        centres = heights[half::step, half::step]
        heights[::step, half::step] = deviating(
            centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        )
        heights[half::step, ::step] = deviating(
            centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        )
        step, deviation = half, deviation / decay
    heights -= heights.min()
    return (heights[:side, :side] / heights.max()).astype(np.float32)  # type: ignore[no-any-return]


def spatter(bytes_HWC: Bytes, c: tuple[float, float, float, float, float, str], draw: Generator) -> Bytes:
    """Add drops of water or mud where normal noise of mean c[0] and deviation c[1], blurred by c[2], is above c[3]; as
    strong as c[4] (water), or with edges blurred by c[4] (mud)."""
    mean, deviation, sigma, threshold, strength, liquid = c
    side = bytes_HWC.shape[0]
    noise_HW1 = np.float32(mean) + np.float32(deviation) * draw.standard_normal((side, side, 1), np.float32)
    layer_HW1 = gaussian(noise_HW1, sigma)
    layer_HW1 = np.where(layer_HW1 < threshold, np.float32(0), layer_HW1)
    colour_11C = WATER if liquid == "water" else MUD
    if bytes_HWC.shape[2] == 1:
        colour_11C = luma(colour_11C)
    x_HWC = to_floats(bytes_HWC)
    if liquid == "water":
        return to_bytes(x_HWC + strength * _drops(layer_HW1[..., 0])[..., None] * colour_11C)
    cover_HW1 = gaussian((layer_HW1 > threshold).astype(np.float32), strength)
    cover_HW1 = np.where(cover_HW1 < 0.8, np.float32(0), cover_HW1)
    return to_bytes(x_HWC * (1 - cover_HW1) + cover_HW1 * colour_11C)


def _drops(layer_HW: Floats) -> Floats:
    """Return the brightness of the water, in [0, 1]: by the distance from the edges of the drops, embossed."""
    wet_HW = to_bytes(layer_HW)
    distance_HW = cv2.distanceTransform(255 - cv2.Canny(wet_HW, 50, 150), cv2.DIST_L2, 5)
    near_HW = cv2.blur(np.minimum(distance_HW, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    embossed_HW = cv2.filter2D(cv2.equalizeHist(near_HW), cv2.CV_8U, emboss)
    bright_HW = wet_HW * cv2.blur(embossed_HW, (3, 3)).astype(np.float32)
    return bright_HW / max(bright_HW.max(), np.float32(1))  # type: ignore[no-any-return]
