"""Tiny ImageNet as its archive has it: training images by class, validation images with a file of labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from experiments.regular_files import read_regular
from jobs.datasets.image_file import UnreadableImageError, open_image
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import missing_error

_WORDNET_ID = re.compile(r"n\d{8}")


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images decoded, in order of class, then of file name, the validation images in order of file name;
    labels are the ranks of the sorted WordNet ids. Raises InputError that names the file or folder which is missing,
    no image, or of another number than was published."""
    folder = root / info.folder
    try:
        classes = sorted(path.name for path in (folder / "train").iterdir() if _WORDNET_ID.fullmatch(path.name))
    except OSError as error:
        raise missing_error(info, folder / "train", error) from None
    if len(classes) != info.classes:
        wrong = f"{len(classes):,} folders named by a WordNet id"
        raise InputError(folder / "train", wrong, f"{info.classes:,} are expected")
    labelled = _training(info, folder, classes) if split == "train" else _validation(info, folder, classes)
    if len(labelled) != info.images(split):
        wrong = f"{len(labelled):,} images of the split {split}"
        raise InputError(folder, wrong, f"{info.images(split):,} were published; get it with {info.obtain}")
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        pixels_NHWC = np.stack(list(threads.map(lambda item: _decode(item[0], info.size), labelled)))
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()
    labels_N = torch.tensor([label for _, label in labelled])
    return MemoryImages(info, split, info.split_digest(split), labels_N, images_NCHW)


def _training(info: DatasetInfo, folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    labelled = []
    for label, name in enumerate(classes):
        images = folder / "train" / name / "images"
        try:
            labelled += [(path, label) for path in sorted(images.iterdir()) if path.suffix == ".JPEG"]
        except OSError as error:
            raise missing_error(info, images, error) from None
    return labelled


def _validation(info: DatasetInfo, folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    path = folder / info.test_labels
    try:
        lines = read_regular(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise missing_error(info, path, error if isinstance(error, OSError) else OSError("is no text")) from None
    labels = {name: label for label, name in enumerate(classes)}
    labelled = []
    for number, line in enumerate(lines, 1):
        name, *fields = line.split("\t")
        if not fields or fields[0] not in labels:
            raise InputError(path, f"line {number} names no class", "expected: file, WordNet id and a box, by tabs")
        labelled.append((path.parent / "images" / name, labels[fields[0]]))
    return sorted(labelled)


def _decode(path: Path, size: int) -> NDArray[np.uint8]:
    """Return an image in colour, of shape (size, size, 3). Raises InputError for one that is no JPEG of this size."""
    try:
        with open_image(path) as image:
            pixels_HWC = np.asarray(image.convert("RGB"))
    except UnreadableImageError as error:
        raise InputError(path, str(error), "get it again") from None
    if pixels_HWC.shape != (size, size, 3):
        wrong = f"{pixels_HWC.shape[1]}x{pixels_HWC.shape[0]} pixels"
        raise InputError(path, wrong, f"expected {size}x{size}")
    return pixels_HWC
