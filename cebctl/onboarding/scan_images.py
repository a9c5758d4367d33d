"""The scan of a user's folder of images for its classes, splits, sizes and channels, and for their digests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import InputError
from experiments.own_dataset import Description
from jobs.datasets import image_folder

TRAIN, TEST = ("train", "training"), ("test", "val", "valid", "validation")
"""The folder names of each split, in the order of preference."""
TEST_EVERY = 5
"""Without a test folder, every fifth image of each class is a test image."""
USUAL_SIZES = (28, 32, 64, 96, 128, 224)
"""In pixels. Images of several sizes are resized to the largest of these that the median image reaches."""
MAX_BYTES = 4 << 30
"""The limit on one decoded split: a job holds both splits in memory."""


@dataclass(frozen=True)
class FolderScan:
    """The contents of a folder of images."""

    slug: str
    """A readable name, made of the folder's."""
    description: Description
    sizes: Counter[tuple[int, int]]
    """How many images there are of each width and height."""
    notes: tuple[str, ...]
    """Messages on what the user may not expect."""


def scan(folder: Path, root: Path, size: int | None = None) -> FolderScan:
    """Describe the images in a folder, for the data folder `root`; `size` in pixels, else what most of them have.

    Raises InputError if it can't be read, is no folder of class folders, or holds what is no image.
    """
    train, test, test_every, notes = _splits(folder)
    classes = image_folder.class_folders(train)
    _check_classes(folder, train, test, classes)
    train_images = [name for name, _ in image_folder.list_images(train, classes, "train", test_every)]
    test_images = [name for name, _ in image_folder.list_images(test, classes, "test", test_every)]
    sizes, channels = _headers([*(train / n for n in train_images), *(test / n for n in test_images)])
    pixels = size or _usual_size(sizes)
    if max(len(train_images), len(test_images)) * channels * pixels**2 > MAX_BYTES:
        raise InputError(folder, f"its images, at {pixels} pixels, do not fit into memory", "say a smaller --size")
    train_digest, mean, std = _read(train, train_images, channels, pixels)
    test_digest, _, _ = _read(test, test_images, channels, pixels)
    description = Description(
        folder=_portable_path(folder, root), test_every=test_every,
        train_folder=_split_name(train, folder), test_folder=_split_name(test, folder),
        class_names=tuple(classes), channels=1 if channels == 1 else 3, size=pixels,
        train=len(train_images), test=len(test_images), mean=mean, std=std,
        flips=channels == 3, train_digest=train_digest, test_digest=test_digest,
    )  # fmt: skip
    slug = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-")[:40] or "images"
    return FolderScan(slug, description, sizes, tuple(notes))


def _splits(folder: Path) -> tuple[Path, Path, int | None, list[str]]:
    """Return the folders of the training and test images, every how many-th image is a test image, and notes."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of class folders, or of train/ and test/ with such")
    named = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    train = [named[name] for name in TRAIN if name in named]
    test = [named[name] for name in TEST if name in named]
    if not train:
        return folder, folder, TEST_EVERY, [f"no train/ and test/ in it: every {TEST_EVERY}th image is a test image"]
    if not test:
        note = f"no {', '.join(TEST)} in it: every {TEST_EVERY}th image of {train[0].name}/ is a test image"
        return train[0], train[0], TEST_EVERY, [note]
    notes = [f"{path.name}/ is left aside: {test[0].name}/ holds the test images" for path in test[1:]]
    return train[0], test[0], None, notes


def _check_classes(folder: Path, train: Path, test: Path, classes: list[str]) -> None:
    if len(classes) < 2:
        shape = f"{train.name}/<class>/*{image_folder.SUFFIXES[0]}"
        raise InputError(train, f"{len(classes)} class folders with images in it", f"at least 2: {shape}")
    if unknown := sorted(set(image_folder.class_folders(test)) - set(classes)):
        raise InputError(
            test / unknown[0], "a class without training images", f"those of {train}: {', '.join(classes)}"
        )
    for name in classes if train == test else ():
        if len(image_folder.image_names(train / name)) < 2:
            raise InputError(train / name, "one image", "at least two: one to train on, one to test")
    if train != test and not image_folder.class_folders(test):
        raise InputError(test, "no test images in it", f"class folders as in {train}")


def _headers(paths: list[Path]) -> tuple[Counter[tuple[int, int]], int]:
    """Return the sizes of the images, and 1 channel if all are grey, else 3, without decoding pixels."""
    from jobs.datasets.image_file import UnreadableImageError, open_image

    sizes: Counter[tuple[int, int]] = Counter()
    modes = set()
    for path in paths:
        try:
            with open_image(path) as image:
                sizes[image.size] += 1
                modes.add(image.mode)
        except UnreadableImageError as error:
            raise InputError(path, str(error)) from None
    return sizes, 1 if modes <= {"1", "L", "LA"} else 3


def _usual_size(sizes: Counter[tuple[int, int]]) -> int:
    """Return the side that all images have, if it is not too large; else a usual one, by the median short side."""
    sides = {side for size in sizes for side in size}
    if len(sides) == 1 and max(sides) <= USUAL_SIZES[-1]:
        return sides.pop()
    short = sorted(min(size) for size in sizes.elements())
    median = short[len(short) // 2]
    return max((side for side in USUAL_SIZES if side <= median), default=median)


def _read(folder: Path, names: list[str], channels: int, size: int) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Return the digest of the images, and the mean and standard deviation of each channel in [0, 1]."""
    import numpy as np

    digest, total, squares = image_folder.SplitDigest(), np.zeros(channels), np.zeros(channels)
    for name, content in zip(names, image_folder.read_files(folder, names), strict=True):
        digest.add(name, content)
        pixels = image_folder.decode_image(content, folder / name, channels, size) / 255.0
        total += pixels.mean(axis=(0, 1))
        squares += (pixels**2).mean(axis=(0, 1))
    mean = total / len(names)
    std = np.sqrt(np.maximum(squares / len(names) - mean**2, 0))
    return digest.text, tuple(_rounded(mean)), tuple(max(value, 1e-4) for value in _rounded(std))


def _rounded(values: object) -> Iterator[float]:
    return (round(float(value), 4) for value in values)  # type: ignore[attr-defined]


def _portable_path(folder: Path, root: Path) -> str:
    """Return the path from the data folder if it lies in there, so that both can be moved; else the absolute path."""
    absolute = folder.resolve()
    return str(absolute.relative_to(root.resolve()) if absolute.is_relative_to(root.resolve()) else absolute)


def _split_name(split: Path, folder: Path) -> str:
    return "" if split == folder else split.name
