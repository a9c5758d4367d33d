"""The scan of a user's folder of images for its classes, splits, sizes and channels, and for their digests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from experiments.datasets import Split
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

_OTHERWISE = "{} are read by a function of your own: `cebctl init --part data` writes one to begin with"


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
    layout = _read_layout(folder)
    if (place := f"{_portable_path(folder, root)}/{layout.inside}") != image_folder.printable(place):
        raise InputError(place, "a path that is no printable text can't be written into a description", "rename it")
    train, test = layout.train, layout.test
    class_names = [image_folder.printable(name) for name in layout.classes]
    folders: dict[Split, Path] = {"train": train, "test": test}
    listed = {
        split: image_folder.list_images(place, class_names, split, layout.test_every, layout.inside)
        for split, place in folders.items()
    }
    sizes, channels = _headers([*(train / n for n, _ in listed["train"]), *(test / n for n, _ in listed["test"])])
    pixels = size or _usual_size(sizes)
    if max(map(len, listed.values())) * channels * pixels**2 > MAX_BYTES:
        raise InputError(folder, f"its images, at {pixels} pixels, do not fit into memory", "say a smaller --size")
    train_digest, mean, std = _read(train, listed["train"], class_names, channels, pixels)
    test_digest, _, _ = _read(test, listed["test"], class_names, channels, pixels)
    description = Description(
        folder=_portable_path(folder, root), test_every=layout.test_every,
        train_folder=_split_name(train, folder), test_folder=_split_name(test, folder),
        class_names=tuple(class_names), channels=1 if channels == 1 else 3, size=pixels,
        train=len(listed["train"]), test=len(listed["test"]), mean=mean, std=std,
        flips=channels == 3, train_digest=train_digest, test_digest=test_digest, inside=layout.inside or UNSET,
    )  # fmt: skip
    slug = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-")[:40] or "images"
    return FolderScan(slug, description, sizes, tuple(layout.notes))


@dataclass
class _Layout:
    """Where the images of both splits lie."""

    train: Path
    test: Path
    """The same folder, where there is but one."""
    classes: list[str]
    """The class folders of `train`, in order."""
    inside: str
    """As in `Description`."""
    test_every: int | None
    notes: list[str]


def _read_layout(folder: Path) -> _Layout:
    """Return the layout of a folder. Raises InputError if it has none that is read, with the way out."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of class folders, or of train/ and test/ with such")
    notes: list[str] = []
    test_every: int | None = TEST_EVERY
    train, classes, inside = _training_folder(folder)
    if train == folder:
        test = folder
        notes.append(f"no train/ and test/ in it: every {TEST_EVERY}th image is a test image")
    else:
        tests, unused = _test_folders(folder, classes)
        test, test_every = (tests[0], None) if tests else (train, TEST_EVERY)
        if not tests:
            names = ", ".join(TEST) if not unused else f"{' or '.join(f'{path.name}/' for path in unused)} with classes"
            notes.append(f"no {names} in it: every {TEST_EVERY}th image of {train.name}/ is a test image")
        notes += [f"{path.name}/ is left aside: {tests[0].name}/ holds the test images" for path in tests[1:]]
        notes += [_unused_note(path) for path in unused]
    _check_classes(folder, train, test, classes, inside)
    notes += _missing_classes(test, classes)
    for place in dict.fromkeys((train, test)):
        prefix = f"{place.name}/" if place != folder else ""
        notes += image_folder.left_aside(place, classes, inside, prefix)
        notes += image_folder.alike_but_for_case(place, classes, inside)
    if train != folder:
        beside = [path.name for path in sorted(folder.iterdir()) if path.name.lower() not in (*TRAIN, *TEST)]
        if beside:
            notes.append(f"left aside: what lies beside {train.name}/ ({image_folder.first_names(beside)})")
    return _Layout(train, test, classes, inside, test_every, notes)


def _training_folder(folder: Path) -> tuple[Path, list[str], str]:
    """Return the folder of the training images, its class folders, and the folder inside each."""
    splits = _named(folder, TRAIN)
    classes, inside = image_folder.find_classes(folder)
    if inside and any(name.lower() not in (*TRAIN, *TEST) for name in classes):
        splits = []  # <class>/images/ throughout, and a class may be called train
    for train in splits:
        trained, inside_class = image_folder.find_classes(train)
        if trained:
            return train, trained, inside_class
    return folder, classes, inside


def _test_folders(folder: Path, classes: list[str]) -> tuple[list[Path], list[Path]]:
    """Return the folders of test images, in the order of preference, and those whose images are in no class."""
    usable: list[Path] = []
    unused: list[Path] = []
    for path in _named(folder, TEST):
        names = image_folder.find_classes(path)[0]
        is_flat = not names or (len(names) == 1 and names[0] not in classes)  # such as val/images/
        (unused if is_flat else usable).append(path)
    return usable, unused


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the subfolders of these names, in the order of the names. Raises InputError for two of one name."""
    paths: dict[str, Path] = {}
    for path in image_folder.subfolders(folder):
        name = path.name.lower()
        if name in names and name in paths:
            twins = f"{paths[name].name}/ and {path.name}/"
            raise InputError(folder, f"{twins} differ by case alone", "rename one, or put them together")
        paths[name] = path
    return [paths[name] for name in names if name in paths]


def _unused_note(path: Path) -> str:
    """Return what is said of a folder named as one of test images whose images have no class."""
    images = sum(file.suffix.lower() in image_folder.SUFFIXES for file in path.rglob("*"))
    note = f"{path.name}/ is left aside: {images:,} image{'s' * (images != 1)} in it, in no folders of classes"
    if (path / "val_annotations.txt").is_file():
        note += "; `data: tiny_imagenet` in a matrix reads Tiny ImageNet as it was published"
    return note


def _check_classes(folder: Path, train: Path, test: Path, classes: list[str], inside: str) -> None:
    if len(classes) < 2:
        shape = f"{train.name}/<class>/*{image_folder.SUFFIXES[0]}"
        tables = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in (".csv", ".tsv")]
        otherwise = f"labels in {image_folder.first_names(tables)}" if tables else "images that lie otherwise"
        wrong = f"{len(classes)} class folders with images in it"
        raise InputError(train, wrong, f"at least 2: {shape}; {_OTHERWISE.format(otherwise)}")
    if unknown := sorted(set(image_folder.find_classes(test)[0]) - set(classes)):
        raise InputError(
            test / unknown[0], "a class without training images", f"those of {train}: {', '.join(classes)}"
        )
    for name in classes if train == test else ():
        if len(image_folder.image_names(train / name / inside)) < 2:
            raise InputError(train / name, "one image", "at least two: one to train on, one to test")


def _missing_classes(test: Path, classes: list[str]) -> list[str]:
    missing = [name for name in classes if name not in image_folder.find_classes(test)[0]]
    if not missing:
        return []
    listed = image_folder.first_names(missing)
    return [
        f"{test.name}/ has no images of {len(missing):,} of {len(classes):,} classes ({listed}): no number is of them"
    ]


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


def _read(
    folder: Path, listed: list[tuple[str, int]], class_names: list[str], channels: int, size: int
) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Return the digest of the images, and the mean and standard deviation of each channel in [0, 1]."""
    import numpy as np

    digest, total, squares = image_folder.SplitDigest(), np.zeros(channels), np.zeros(channels)
    names = [name for name, _ in listed]
    for (name, label), content in zip(listed, image_folder.read_files(folder, names), strict=True):
        digest.add(image_folder.name_in_digest(name, class_names[label]), content)
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
