"""The 19 corruptions of an image, each a function of the image and its index alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator

from jobs.engine.corruptions import blur, digital, noise, parameters, weather
from jobs.engine.corruptions.arithmetic import Bytes

FUNCTIONS: dict[str, Callable[[Bytes, Any, Generator], Bytes]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": digital.saturate,
}


SEED = 0
"""The seed of the corruptions that networks are tested on: the same for every run, so that all see the same images."""

PUBLISHED_QUALITY = 85
"""The quality of the JPEG files of ImageNet-C (make_imagenet_c.py; `optimize=True` there changes their size and no
pixel)."""


@dataclass(frozen=True)
class Corruption:
    """One set: a corruption at a severity, of 1 to 5. The draws of an image are a function of the seed, the set and the
    image's index alone."""

    name: str
    severity: int
    seed: int = 0
    jpeg_quality: int | None = None
    """Save the result as JPEG of this quality, and read it again; None: do not."""

    def __call__(self, bytes_HWC: Bytes, index: int) -> Bytes:
        """Return the image with this index, uint8 of shape (H, W, C), square, of one or three channels, corrupted at
        the published severity for its size, else at that for the nearest published one."""
        c = parameters.lookup(self.name, self.severity, bytes_HWC.shape[0])
        corrupted_HWC = FUNCTIONS[self.name](np.ascontiguousarray(bytes_HWC), c, self._draw(index))
        if self.jpeg_quality is None:
            return corrupted_HWC
        return digital.jpeg_round_trip(corrupted_HWC, self.jpeg_quality)

    def _draw(self, index: int) -> Generator:
        name = f"{self.seed}\0{self.name}\0{self.severity}\0{index}".encode()
        return Generator(PCG64(int.from_bytes(hashlib.sha256(name).digest()[:16], "little")))
