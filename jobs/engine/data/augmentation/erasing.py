"""Random Erasing (Zhong et al., 2020) on a batch, by torchvision's rule with draws of our own.

Shapes: B images, A attempts to find a rectangle, C channels, H by W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jobs.engine import randomness
from jobs.engine.device import to_device

ATTEMPTS = 10
"""torchvision's: an image none of whose rectangles fits stays as it is."""
AREA, RATIO = (0.02, 0.33), (0.3, 3.3)
"""The share of the image's area, and height over width."""


def erase(
    x_BCHW: Tensor, probability: float, mean: tuple[float, ...], seed: int, epoch: int, samples_B: Tensor
) -> Tensor:
    """Return square images in [0, 1], with this probability with a rectangle of the mean colour, as it is drawn
    for each of samples_B (int64, on the CPU)."""
    covered_BHW = rectangles(x_BCHW.shape[-1], seed, epoch, samples_B)
    chance_B = randomness.uniform(seed, "erasing", epoch, samples_B, 1)[:, 0]
    covered_BHW &= (chance_B < probability)[:, None, None]
    mean_C11 = x_BCHW.new_tensor(mean)[:, None, None]
    return torch.where(to_device(covered_BHW, x_BCHW.device)[:, None], mean_C11, x_BCHW)


def rectangles(size: int, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """Return a mask of each image of so many pixels a side, True within its rectangle; bool of shape (B, H, W), on the
    CPU."""
    sizes_BA2 = randomness.uniform(seed, "erasing_size", epoch, samples_B, 2 * ATTEMPTS).view(-1, ATTEMPTS, 2)
    area_BA = size**2 * (AREA[0] + (AREA[1] - AREA[0]) * sizes_BA2[..., 0])
    low, high = (math.log(bound) for bound in RATIO)
    ratio_BA = (low + (high - low) * sizes_BA2[..., 1]).exp()
    heights_BA, widths_BA = (area_BA * ratio_BA).sqrt().round().long(), (area_BA / ratio_BA).sqrt().round().long()
    fits_BA = (heights_BA < size) & (widths_BA < size)
    first_B1 = fits_BA.int().argmax(dim=1, keepdim=True)
    heights_B, widths_B = (
        sides_BA.gather(1, first_B1)[:, 0] * fits_BA.any(dim=1) for sides_BA in (heights_BA, widths_BA)
    )
    places_B2 = randomness.uniform(seed, "erasing_place", epoch, samples_B, 2)
    tops_B = (places_B2[:, 0] * (size - heights_B + 1)).long()
    lefts_B = (places_B2[:, 1] * (size - widths_B + 1)).long()
    return within(size, tops_B, tops_B + heights_B)[:, :, None] & within(size, lefts_B, lefts_B + widths_B)[:, None]


def within(pixels: int, first_B: Tensor, last_B: Tensor) -> Tensor:
    """Return for each image which of its rows or columns lie in [first, last); bool of shape (B, pixels)."""
    positions_P = torch.arange(pixels)
    return (positions_P >= first_B[:, None]) & (positions_P < last_B[:, None])
