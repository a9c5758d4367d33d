"""Noise on every value of every channel by itself. `c` is the published parameter of the severity."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from jobs.engine.corruptions.arithmetic import Bytes, to_bytes, to_floats


def gaussian_noise(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Add normal noise of standard deviation c."""
    return to_bytes(to_floats(bytes_HWC) + np.float32(c) * draw.standard_normal(bytes_HWC.shape, np.float32))


def shot_noise(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Replace each value by a Poisson number of photons, of mean c for white."""
    photons_HWC = draw.poisson(bytes_HWC * (c / 255))
    return to_bytes((photons_HWC / c).astype(np.float32))


def impulse_noise(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Replace a share c of the values, one half of them by black, the other by white."""
    drawn_HWC = draw.random(bytes_HWC.shape, np.float32)
    corrupted_HWC = bytes_HWC.copy()
    corrupted_HWC[drawn_HWC < c / 2] = 0
    corrupted_HWC[drawn_HWC >= 1 - c / 2] = 255
    return corrupted_HWC


def speckle_noise(bytes_HWC: Bytes, c: float, draw: Generator) -> Bytes:
    """Add normal noise of standard deviation c times the value."""
    x_HWC = to_floats(bytes_HWC)
    return to_bytes(x_HWC + x_HWC * np.float32(c) * draw.standard_normal(bytes_HWC.shape, np.float32))
