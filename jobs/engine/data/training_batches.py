"""The batches of training: augmented images, some of them erased in part, and mixed with their partners.

Shapes: N images, B of a batch, L that are loaded for it, C channels, H by W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from experiments.spec import Run
from jobs.engine.data.augmentation import erasing, mixing
from jobs.engine.data.batches import Batch, batches
from jobs.engine.data.images import ImageSet
from jobs.engine.device import to_device


def training_batches(
    images: ImageSet,
    index_batches: Sequence[Tensor],
    run: Run,
    epoch: int,
    order_N: Tensor,
    device: str | torch.device,
) -> Iterator[Batch]:
    """Yield and raise as `jobs.engine.data.batches` does. Where the run mixes images, labels are probabilities of shape
    (B, K), float32, float64 for the precision fp64. `order_N` are all images in the order of the epoch.

    An image whose partner can't be decoded is not mixed.
    """
    data = run.data
    if not data.mixup and not data.cutmix:
        for samples_B, x_BCHW, y_B in batches(images, index_batches, data.augment, run.seed, epoch, device):
            yield samples_B, _erased(x_BCHW, images, run, epoch, samples_B), y_B
        return
    partners_N = torch.empty_like(order_N)
    partners_N[order_N] = order_N.roll(-1)
    loaded = [_with_partners(samples_B, partners_N) for samples_B in index_batches]
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    for requested_B, (samples_L, x_LCHW, y_L) in zip(
        index_batches, batches(images, loaded, data.augment, run.seed, epoch, device), strict=True
    ):
        x_LCHW = _erased(x_LCHW, images, run, epoch, samples_L)
        # Its own images come first, and those that only partner others behind them.
        samples_B = samples_L[torch.isin(samples_L, requested_B)]
        partners_B = partners_N[samples_B]
        partners_B = torch.where(torch.isin(partners_B, samples_L), partners_B, samples_B)
        sorted_L = samples_L.argsort()
        places_B = to_device(sorted_L[torch.searchsorted(samples_L[sorted_L], partners_B)], y_L.device)
        x_BCHW, y_B = x_LCHW[: len(samples_B)], y_L[: len(samples_B)]
        mixture = mixing.draw(data, x_BCHW.shape[-1], run.seed, epoch, samples_B)
        x_BCHW, labels_BK = mixing.mix(x_BCHW, x_LCHW[places_B], y_B, y_L[places_B], mixture, images.info.classes)
        yield samples_B, x_BCHW, labels_BK.to(dtype)


def _erased(x_BCHW: Tensor, images: ImageSet, run: Run, epoch: int, samples_B: Tensor) -> Tensor:
    probability = run.data.erasing
    return erasing.erase(x_BCHW, probability, images.info.mean, run.seed, epoch, samples_B) if probability else x_BCHW


def _with_partners(samples_B: Tensor, partners_N: Tensor) -> Tensor:
    """Return a batch and, behind it, the partners that are not in it: of consecutive images, the last one's."""
    partners_B = partners_N[samples_B]
    return torch.cat([samples_B, partners_B[~torch.isin(partners_B, samples_B)]])
