"""An image set: labels, and the pixels or the paths to them. Shapes: N images, C channels, H by W pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError

MAX_CORRUPT_SHARE = 0.001
"""A run ends when more than this share of a set's images can't be decoded; fewer are left out by name."""

ImageTransform = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""Changes a decoded and cropped image: (uint8 of shape (H, W, C), its index) to uint8."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryImages:
    """A set small enough to be held decoded."""

    info: DatasetInfo
    split: Split
    digest: str
    """That of the split as it was read, equal to `info.split_digest(split)`."""
    labels_N: Tensor
    """int64, 0 to classes - 1."""
    images_NCHW: Tensor
    """uint8."""
    transform: ImageTransform | None = None
    """Applied to each image as it is used; `digest` names it."""
    _resident: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, compare=False)

    def __len__(self) -> int:
        return len(self.labels_N)

    def subset(self, indices_M: Tensor) -> MemoryImages:
        """Return the images at these indices, renumbered from 0."""
        return replace(self, labels_N=self.labels_N[indices_M], images_NCHW=self.images_NCHW[indices_M])

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return (images_NCHW uint8, labels_N) on a device, where they stay."""
        if device not in self._resident:
            self._resident[device] = self.images_NCHW.to(device), self.labels_N.to(device)
        return self._resident[device]


@dataclass(frozen=True)
class FolderImages:
    """A set that is decoded image by image as it is used."""

    info: DatasetInfo
    split: Split
    digest: str
    labels_N: Tensor
    """int64, 0 to classes - 1."""
    folder: Path
    names_N: NDArray[np.bytes_]
    """Paths below `folder`. One array, because a million Python strings would be copied into every loader process."""
    corrupt: dict[int, str] = field(default_factory=dict)
    """The errors of images that could not be decoded, by index: they were left out of their batches."""
    crop: Literal["evaluation", "imagenet-c"] | None = "evaluation"
    """`evaluation`: that of `augment.central_crop`; `imagenet-c`: that of `augment.imagenet_c_crop`; None: an image
    must have the size of `info` already."""
    transform: ImageTransform | None = None
    """Applied to each image as it is used; `digest` names it."""
    loader: Literal["torchvision", "dali"] = "torchvision"
    """The library that decodes and crops; images with a `transform` are always read by torchvision, with Pillow."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def subset(self, indices_M: Tensor) -> FolderImages:
        """Return the images at these indices, renumbered from 0."""
        names_M = self.names_N[indices_M.numpy()]
        return replace(self, labels_N=self.labels_N[indices_M], names_N=names_M, corrupt={})

    def path(self, index: int) -> Path:
        """Return the path of the image at this index."""
        return self.folder / os.fsdecode(bytes(self.names_N[index]))

    def leave_out(self, index: int, why: str) -> None:
        """Add an image that can't be decoded. Raises InputError once they are more than MAX_CORRUPT_SHARE."""
        if index in self.corrupt:
            return
        self.corrupt[index] = why
        _log.warning("%s: left out: %s", self.path(index), why)
        if len(self.corrupt) > MAX_CORRUPT_SHARE * len(self):
            raise InputError(
                self.path(index),
                f"{why}; it is corrupt image {len(self.corrupt)} of {len(self):,}",
                f"up to {MAX_CORRUPT_SHARE:.1%} of a set are left out",
            )


ImageSet = MemoryImages | FolderImages


def balanced_indices(labels_N: Tensor, count: int) -> Tensor:
    """Return the indices, ascending, of `count` images drawn evenly from the classes: in turn the first image of each
    class, then the second of each, and so on; int64 of shape (count,).

    They depend on the order of the set alone, and a smaller selection is part of a larger one.
    """
    order_N = torch.argsort(labels_N, stable=True)
    sorted_N = labels_N[order_N]
    firsts_N = torch.searchsorted(sorted_N, sorted_N)
    turns_N = torch.arange(len(labels_N)) - firsts_N
    in_turn_N = order_N[torch.argsort(turns_N, stable=True)]
    return in_turn_N[:count].sort().values
