"""mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019): an image mixed with its partner, and their labels too.

The label of a mixture is its own image's with probability `share`, else its partner's. Every loss is the expectation
over it: objectives are linear in it, so it is share x loss(y) + (1 - share) x loss(partner's y), the bottleneck's terms
included. The partner is the image that follows in the epoch's order, whatever the batch, so that the mixture is a
function of (seed, epoch, sample). lam is drawn for each image by the inverse of Beta(alpha, alpha)'s distribution.

Shapes: B images, C channels, H by W pixels, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.special import betaincinv
from torch import Tensor

from experiments.spec import Data
from jobs.engine import randomness
from jobs.engine.data.augmentation.erasing import within
from jobs.engine.device import to_device


class Mixture(NamedTuple):
    """What an image keeps of itself."""

    kept_BHW: Tensor
    """In [0, 1], for each pixel; (B, 1, 1) where no rectangle is cut."""
    share_B: Tensor
    """The mean over its pixels: the probability of its own label."""


def draw(data: Data, size: int, seed: int, epoch: int, samples_B: Tensor) -> Mixture:
    """Return the mixtures of these samples (int64, on the CPU) of so many pixels a side, in float64 on the CPU."""
    chance_B, kind_B, quantile_B = randomness.uniform(seed, "mixing", epoch, samples_B, 3).unbind(1)
    mixup, cutmix = data.mixup or 0.0, data.cutmix or 0.0
    is_cut_B = kind_B >= (0.5 if mixup and cutmix else float(bool(mixup)))
    lam_B = torch.empty_like(quantile_B)
    for alpha, chosen_B in ((mixup, ~is_cut_B), (cutmix, is_cut_B)):
        if alpha:
            lam_B[chosen_B] = torch.from_numpy(betaincinv(alpha, alpha, quantile_B[chosen_B].numpy()))
    is_mixed_B = chance_B < (data.mix_probability or 1.0)
    kept_BHW = torch.where(is_mixed_B & ~is_cut_B, lam_B, 1.0)[:, None, None]
    if cutmix:
        cut_BHW = rectangles(lam_B, size, seed, epoch, samples_B) & (is_mixed_B & is_cut_B)[:, None, None]
        kept_BHW = torch.where(cut_BHW, 0.0, kept_BHW)
    return Mixture(kept_BHW, kept_BHW.mean(dim=(1, 2)))


def rectangles(lam_B: Tensor, size: int, seed: int, epoch: int, samples_B: Tensor) -> Tensor:
    """Return a mask of each image, True in a rectangle of sqrt(1 - lam) of its sides, around a pixel drawn evenly and
    cut at the edges, in torchvision's rounding; bool of shape (B, H, W)."""
    centres_B2 = randomness.uniform(seed, "cutmix", epoch, samples_B, 2)
    half_B = 0.5 * (1 - lam_B).sqrt()
    middles_B2, reach_B1 = (centres_B2 * size).long(), (half_B * size).long()[:, None]
    firsts_B2, lasts_B2 = middles_B2 - reach_B1, middles_B2 + reach_B1
    rows_BH, columns_BW = (within(size, firsts_B2[:, axis], lasts_B2[:, axis]) for axis in range(2))
    return rows_BH[:, :, None] & columns_BW[:, None]


def mix(
    x_BCHW: Tensor, partners_BCHW: Tensor, y_B: Tensor, partners_y_B: Tensor, mixture: Mixture, classes: int
) -> tuple[Tensor, Tensor]:
    """Return the mixed images, and their labels as probabilities in float64, of shape (B, K)."""
    kept_B1HW = to_device(mixture.kept_BHW, x_BCHW.device)[:, None].to(x_BCHW.dtype)
    share_B1 = to_device(mixture.share_B, x_BCHW.device)[:, None]
    labels_BK = share_B1.new_zeros(len(y_B), classes)
    labels_BK.scatter_add_(1, y_B[:, None], share_B1).scatter_add_(1, partners_y_B[:, None], 1 - share_B1)
    return kept_B1HW * x_BCHW + (1 - kept_B1HW) * partners_BCHW, labels_BK
