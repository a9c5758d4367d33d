"""From the name of a data set to its images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments import datasets
from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError, expected
from experiments.spec import Data
from jobs.engine.data import cifar10, cifar10_jpeg, digits, fashion_mnist, imagenet
from jobs.engine.data.images import ImageSet, evenly

_READERS: dict[str, Callable[[DatasetInfo, Split, Path], ImageSet]] = {
    "digits": digits.read,
    "cifar10": cifar10.read,
    "cifar10-jpeg": cifar10_jpeg.read,
    "fashion_mnist": fashion_mnist.read,
    "imagenet": imagenet.read,
}


def load(data: Data, split: Split, root: Path) -> ImageSet:
    """Read one split from the data folder `root`, verified; of the training split, `train_subset` if one is asked.

    Raises InputError, one line that names the file, if the set is missing, truncated or not the published one,
    or smaller than the subset.
    """
    info = datasets.info(data.name)
    if split == "train" and data.train_subset is not None and data.train_subset > info.train:
        raise InputError("data.train_subset", f"{data.train_subset:,} images", f"{info.name} has {info.train:,}")
    if info.name not in _READERS:
        raise InputError("jobs/engine/data/load.py", f"no reader for {info.name!r}", expected(_READERS, info.name))
    images = _READERS[info.name](info, split, root)
    if split == "test" or data.train_subset is None:
        return images
    return images.subset(evenly(images.labels_N, data.train_subset))
