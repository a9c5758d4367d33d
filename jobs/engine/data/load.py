"""The images of a data set by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from experiments import consistency, datasets, own_dataset
from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError, expected
from experiments.spec import Data
from jobs.engine.data import dali
from jobs.engine.data.datasets import (
    cifar10,
    cifar10_jpeg,
    digits,
    fashion_mnist,
    imagenet,
    own,
    stl10,
    svhn,
    tiny_imagenet,
)
from jobs.engine.data.images import FolderImages, ImageSet, balanced_indices

_READERS: dict[str, Callable[[DatasetInfo, Split, Path], ImageSet]] = {
    "digits": digits.read,
    "cifar10": cifar10.read,
    "cifar10-jpeg": cifar10_jpeg.read,
    "cifar100": cifar10.read,
    "svhn": svhn.read,
    "fashion_mnist": fashion_mnist.read,
    "stl10": stl10.read,
    "tiny_imagenet": tiny_imagenet.read,
    "imagenet": imagenet.read,
}


def load(data: Data, split: Split | Literal["holdout"], root: Path) -> ImageSet:
    """Read one split from the data folder `root`, verified: of the published training images those that are trained
    on (`train`) or those that are kept out of it (`holdout`).

    Raises InputError, one line that names the file, if the set is missing, truncated or not the published one,
    or has too few images; also if nothing is held out, or the loader does not support it or is not installed.
    """
    info = datasets.info(data.name)
    if contradiction := consistency.data_contradiction(data):
        raise InputError("data", contradiction.message)
    if split == "holdout" and not data.holdout:
        raise InputError("data.holdout", "nothing was held out in training", "say how many images")
    requested = (data.train_subset or 0) + (data.holdout or 0)
    if split != "test" and requested > info.train - (data.train_subset is None):
        fields = {"data.train_subset": data.train_subset, "data.holdout": data.holdout}
        place = " and ".join(name for name, value in fields.items() if value)
        raise InputError(place, f"{requested:,} images", f"{info.name} has {info.train:,}")
    reader = own.read if own_dataset.is_own(info.name) else _READERS.get(info.name)
    if reader is None:
        raise InputError("jobs/engine/data/load.py", f"no reader for {info.name!r}", expected(_READERS, info.name))
    images = reader(info, "test" if split == "test" else "train", root)
    if data.loader == "dali":
        dali.require()
        assert isinstance(images, FolderImages)
        images = replace(images, loader=data.loader)
    if split == "test":
        return images
    if data.holdout:
        # From the end of each class, so that a subset of the training images stays the same.
        held_out_M = len(images) - 1 - balanced_indices(images.labels_N.flip(0), data.holdout).flip(0)
        if split == "holdout":
            return images.subset(held_out_M)
        trained_on_N = torch.ones(len(images), dtype=torch.bool)
        trained_on_N[held_out_M] = False
        images = images.subset(trained_on_N.nonzero()[:, 0])
    return images if data.train_subset is None else images.subset(balanced_indices(images.labels_N, data.train_subset))
