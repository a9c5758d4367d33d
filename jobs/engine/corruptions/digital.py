"""Corruptions by editing, storing and warping. `c` holds the published parameters of the severity."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from jobs.engine.corruptions.arithmetic import Bytes, Floats, gaussian_reflected, luma, to_bytes, to_floats


def brightness(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Raise the value of HSV by c, with hue and saturation unchanged; nothing is drawn."""
    x_HWC = to_floats(bytes_HWC)
    value_HW1 = x_HWC.max(axis=2, keepdims=True)
    raised_HW1 = np.minimum(value_HW1 + np.float32(c), 1)
    ratio_HW1 = raised_HW1 / np.maximum(value_HW1, np.float32(1e-6))
    return to_bytes(np.where(value_HW1 > 0, x_HWC * ratio_HW1, raised_HW1))


def saturate(bytes_HWC: Bytes, c: tuple[float, float], draw: Generator) -> Bytes:
    """Change the saturation S of HSV to c[0] S + c[1]; a grey pixel has the hue of red. Nothing is drawn."""
    x_HWC = to_floats(np.repeat(bytes_HWC, 3 // bytes_HWC.shape[2], axis=2))
    value_HW1 = x_HWC.max(axis=2, keepdims=True)
    spread_HW1 = value_HW1 - x_HWC.min(axis=2, keepdims=True)
    saturation_HW1 = spread_HW1 / np.maximum(value_HW1, np.float32(1e-6))
    changed_HW1 = np.clip(saturation_HW1 * np.float32(c[0]) + np.float32(c[1]), 0, 1)
    below_HWC = (value_HW1 - x_HWC) / np.maximum(spread_HW1, np.float32(1e-6))
    below_HWC = np.where(spread_HW1 > 0, below_HWC, np.array([0, 1, 1], np.float32))
    saturated_HWC = value_HW1 * (1 - changed_HW1 * below_HWC)
    return to_bytes(saturated_HWC if bytes_HWC.shape[2] == 3 else luma(saturated_HWC))


def contrast(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Scale every deviation from the mean of the channel by c; nothing is drawn."""
    x_HWC = to_floats(bytes_HWC)
    mean_C = x_HWC.mean(axis=(0, 1), keepdims=True)
    return to_bytes((x_HWC - mean_C) * np.float32(c) + mean_C)


def pixelate(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Shrink to c of the size by means over boxes, and enlarge again; nothing is drawn."""
    image = _image(bytes_HWC)
    width, height = image.size
    small = image.resize((int(width * c), int(height * c)), Image.Resampling.BOX)
    return _array(small.resize((width, height), Image.Resampling.BOX), bytes_HWC)


def jpeg_compression(bytes_HWC: Bytes, c: int, draw: Generator) -> Bytes:
    """Save as JPEG of quality c; nothing is drawn."""
    return jpeg_round_trip(bytes_HWC, c)


def jpeg_round_trip(bytes_HWC: Bytes, quality: int) -> Bytes:
    """Return the image saved as JPEG by Pillow and read again."""
    with Image.open(io.BytesIO(encode_jpeg(bytes_HWC, quality))) as image:
        return _array(image, bytes_HWC)


def encode_jpeg(bytes_HWC: Bytes, quality: int) -> bytes:
    """Return the content of a JPEG file of the image."""
    saved = io.BytesIO()
    _image(bytes_HWC).save(saved, "JPEG", quality=quality)
    return saved.getvalue()


def encode_png(bytes_HWC: Bytes) -> bytes:
    """Return the content of a PNG file of the image, which loses nothing."""
    saved = io.BytesIO()
    _image(bytes_HWC).save(saved, "PNG")
    return saved.getvalue()


def _image(bytes_HWC: Bytes) -> Image.Image:
    return Image.fromarray(bytes_HWC if bytes_HWC.shape[2] == 3 else bytes_HWC[..., 0])


def _array(image: Image.Image, like_HWC: Bytes) -> Bytes:
    return np.asarray(image).reshape(like_HWC.shape)


def elastic_transform(bytes_HWC: Bytes, c: tuple[float, float, float], draw: Generator) -> Bytes:
    """Move three points by up to c[2] of the side, the image with them, and then every pixel by c[0] of the side times
    uniform noise blurred by c[1] of the side (Simard et al., 2003)."""
    side = bytes_HWC.shape[0]
    unit = 244 if side == 224 else side  # a slip of the published code
    amplitude, sigma, shift = (value * unit for value in c)
    warped_HWC = _affine(to_floats(bytes_HWC), shift, draw)
    if not amplitude:
        return to_bytes(warped_HWC)
    down_HW, right_HW = (
        amplitude * gaussian_reflected(draw.uniform(-1, 1, (side, side)).astype(np.float32), sigma) for _ in range(2)
    )
    places_H = np.arange(side, dtype=np.float32)
    return to_bytes(_sampled(warped_HWC, places_H[:, None] + down_HW, places_H + right_HW))


def _affine(x_HWC: Floats, shift: float, draw: Generator) -> Floats:
    """Return the image under the affine map that moves three points around the centre by up to `shift`."""
    side = x_HWC.shape[0]
    centre, third = side // 2, side // 3
    corners = np.array([[third, third], [third, -third], [-third, -third]], np.float32) + centre
    moved = corners + draw.uniform(-shift, shift, corners.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    return cv2.warpAffine(x_HWC, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101).reshape(x_HWC.shape)  # type: ignore[return-value]


def _sampled(x_HWC: Floats, down_HW: NDArray[np.float32], right_HW: NDArray[np.float32]) -> Floats:
    """Return the image at these places, bilinearly, mirrored at its borders."""
    side = x_HWC.shape[0]
    parts = []
    for places_HW in (down_HW, right_HW):
        low_HW = np.floor(places_HW)
        parts.append((low_HW.astype(np.int64), (places_HW - low_HW)[..., None]))
    (top_HW, lower_HW1), (left_HW, righter_HW1) = parts
    rows = [_mirrored(top_HW + offset, side) * side for offset in (0, 1)]
    columns = [_mirrored(left_HW + offset, side) for offset in (0, 1)]
    pixels_NC = x_HWC.reshape(side * side, -1)
    above, below = ((1 - righter_HW1) * pixels_NC[row + columns[0]] + righter_HW1 * pixels_NC[row + columns[1]]
                    for row in rows)  # fmt: skip
    return (1 - lower_HW1) * above + lower_HW1 * below  # type: ignore[no-any-return]


def _mirrored(places: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Return the places inside, mirrored at the borders: … 1 0 | 0 1 … side - 1 | side - 1 …"""
    within = places % (2 * side)
    return np.minimum(within, 2 * side - 1 - within)
