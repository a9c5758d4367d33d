"""Looking at a user's folder of images: its classes, splits, sizes and channels, and their digests."""

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
"""Folders that hold a split, in the order of preference."""
TEST_EVERY = 5
"""Where there is no such folder, every fifth image of each class is a test image."""
USUAL_SIZES = (28, 32, 64, 96, 128, 224)
"""In pixels, for images of several sizes: the largest that the median one has."""
MAX_BYTES = 4 << 30
"""Of one split, decoded: a job holds both."""


@dataclass(frozen=True)
class Looked:
    """A folder of images and what was found in it."""

    slug: str
    """A name for people, of the folder's."""
    described: Description
    sizes: Counter[tuple[int, int]]
    """How many images there are of each width and height."""
    notes: tuple[str, ...]
    """What its user may not expect."""


def look(folder: Path, root: Path, size: int | None = None) -> Looked:
    """Describe the images in a folder, for the data folder `root`; `size` in pixels, else what most of them have.

    Raises InputError if it can't be read, is no folder of class folders, or holds what is no image.
    """
    train, test, every, notes = _splits(folder)
    classes = image_folder.class_folders(train)
    _check_classes(folder, train, test, classes)
    train_images = [name for name, _ in image_folder.list_images(train, classes, "train", every)]
    test_images = [name for name, _ in image_folder.list_images(test, classes, "test", every)]
    sizes, channels = _headers([*(train / n for n in train_images), *(test / n for n in test_images)])
    pixels = size or _usual(sizes)
    if max(len(train_images), len(test_images)) * channels * pixels**2 > MAX_BYTES:
        raise InputError(folder, f"its images, at {pixels} pixels, do not fit into memory", "say a smaller --size")
    train_digest, mean, std = _read(train, train_images, channels, pixels)
    test_digest, _, _ = _read(test, test_images, channels, pixels)
    described = Description(
        folder=_below(folder, root), train_folder=_relative(train, folder), test_folder=_relative(test, folder),
        test_every=every, class_names=tuple(classes), channels=1 if channels == 1 else 3, size=pixels,
        train=len(train_images), test=len(test_images), mean=mean, std=std,
        flips=channels == 3, train_digest=train_digest, test_digest=test_digest,
    )  # fmt: skip
    slug = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-")[:40] or "images"
    return Looked(slug, described, sizes, tuple(notes))


def _splits(folder: Path) -> tuple[Path, Path, int | None, list[str]]:
    """Where the training images lie, where the test images, and every how many-th of one folder is one."""
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
    if odd := sorted(set(image_folder.class_folders(test)) - set(classes)):
        raise InputError(test / odd[0], "a class without training images", f"those of {train}: {', '.join(classes)}")
    for name in classes if train == test else ():
        if len(image_folder.image_names(train / name)) < 2:
            raise InputError(train / name, "one image", "at least two: one to train on, one to test")
    if train != test and not image_folder.class_folders(test):
        raise InputError(test, "no test images in it", f"class folders as in {train}")


def _headers(paths: list[Path]) -> tuple[Counter[tuple[int, int]], int]:
    """The sizes of the images, and 1 channel if all are grey, else 3; pixels are not decoded yet."""
    from PIL import Image

    sizes: Counter[tuple[int, int]] = Counter()
    modes = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes[image.size] += 1
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(path, f"no image that can be read: {error}") from None
    return sizes, 1 if modes <= {"1", "L", "LA"} else 3


def _usual(sizes: Counter[tuple[int, int]]) -> int:
    """The side that all have, if it is no larger than usual; else a usual one, by the median of the short sides."""
    sides = {side for size in sizes for side in size}
    if len(sides) == 1 and max(sides) <= USUAL_SIZES[-1]:
        return sides.pop()
    short = sorted(min(size) for size in sizes.elements())
    median = short[len(short) // 2]
    return max((side for side in USUAL_SIZES if side <= median), default=median)


def _read(folder: Path, names: list[str], channels: int, size: int) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """The digest of the images, and the mean and standard deviation per channel in [0, 1]."""
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


def _below(folder: Path, root: Path) -> str:
    """From the data folder where it lies in there, so that both can be moved; else from the root."""
    whole = folder.resolve()
    return str(whole.relative_to(root.resolve()) if whole.is_relative_to(root.resolve()) else whole)


def _relative(split: Path, folder: Path) -> str:
    return "" if split == folder else split.name
