"""Published images that networks are tested on beside their own test images: other test sets, and corrupted ones.

Their labels are those of the data set the network was trained on. A file that is missing, truncated or not of the
published form is an InputError that names it. Folders are listed, arrays mapped: images are read as they are used.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from experiments.datasets import OTHER_TEST_SETS, DatasetInfo, OtherTestSet
from experiments.errors import InputError
from jobs.engine.data.images import FolderImages, MemoryImages

_SUFFIXES = (".jpeg", ".jpg", ".png")
_CIFAR10_C, _IMAGENET_C = OTHER_TEST_SETS["cifar10-c"], OTHER_TEST_SETS["imagenet-c"]


def cifar10_1(declared: OtherTestSet, info: DatasetInfo, root: Path) -> MemoryImages:
    """Return CIFAR-10.1 in a version, from its two arrays."""
    version = declared.name.rpartition("-")[2]
    files = [root / declared.folder / f"cifar10.1_{version}_{part}.npy" for part in ("data", "labels")]
    pixels_NHWC = _array(files[0], (declared.images, info.size, info.size, info.channels), declared)
    labels_N = _labels(files[1], declared.images, info, declared)
    return _memory(info, declared.name, pixels_NHWC, labels_N)


def cifar10_c(corruption: str, severity: int, info: DatasetInfo, root: Path) -> MemoryImages:
    """Return one set of CIFAR-10-C: the images of a severity (1 to 5) out of the file of a corruption."""
    count = _CIFAR10_C.images
    rows = slice((severity - 1) * count, severity * count)
    pixels_NHWC, labels_N = _cifar10_c_file(corruption, info, root), _cifar10_c_labels(info, root)
    return _memory(info, f"cifar10-c {corruption}/{severity}", pixels_NHWC[rows], labels_N[rows])


def check_cifar10_c(corruptions: Sequence[str], info: DatasetInfo, root: Path) -> None:
    """Raise InputError if a file of CIFAR-10-C is missing or not as published, before any is used."""
    for corruption in corruptions:
        _cifar10_c_file(corruption, info, root)
    _cifar10_c_labels(info, root)


def imagenet_c(
    corruption: str,
    severity: int,
    info: DatasetInfo,
    root: Path,
    classes: Sequence[str],
    declared: OtherTestSet | None = None,
) -> FolderImages:
    """Return one set of ImageNet-C, or of one that is laid out like it, as published: without the evaluation crop.
    `classes` are the WordNet ids in the order of the labels."""
    declared = declared or _IMAGENET_C
    folder = root / declared.folder / corruption / str(severity)
    images = _folders(declared, info, folder, _by_name(classes))
    return replace(images, digest=f"{images.digest} {corruption}/{severity}", crop=None)


def check_imagenet_c(corruptions: Sequence[str], root: Path, declared: OtherTestSet | None = None) -> None:
    """Raise InputError if a set of ImageNet-C, or of one that is laid out like it, is missing, before any is used."""
    declared = declared or _IMAGENET_C
    for corruption in corruptions:
        for severity in range(1, 6):
            _list_folder(root / declared.folder / corruption / str(severity), declared)


def imagenet(declared: OtherTestSet, info: DatasetInfo, root: Path, classes: Sequence[str]) -> FolderImages:
    """Return another test set of ImageNet's classes; `classes` are their WordNet ids in the order of the labels."""
    numbered = declared.name.startswith("imagenet-v2")
    label_of = _by_name([str(number) for number in range(info.classes)] if numbered else classes)
    return _folders(declared, info, root / declared.folder, label_of)


def imagenet_sample(root: Path, size: int, imagenet_info: DatasetInfo) -> FolderImages:
    """Return the sample of ImageNet at another size; its labels mean nothing to a network of another data set."""
    declared = OTHER_TEST_SETS["imagenet-sample"]
    folder = root / declared.folder
    names = [name for name in _list_folder(folder, declared) if re.fullmatch(r"n\d{8}", name)]
    return _folders(declared, replace(imagenet_info, size=size), folder, _by_name(names))


def class_names(images: FolderImages) -> list[str]:
    """Return the folders of the classes of a set, in the order of the labels."""
    firsts = np.unique(images.labels_N.numpy(), return_index=True)[1]
    return [os.fsdecode(bytes(images.names_N[first])).split("/")[0] for first in firsts]


def _by_name(names: Sequence[str]) -> Callable[[str], int | None]:
    return {name: label for label, name in enumerate(names)}.get


def _folders(
    declared: OtherTestSet, info: DatasetInfo, folder: Path, label_of: Callable[[str], int | None]
) -> FolderImages:
    """Return the images of a folder of class folders, in order of label, then of name."""
    folders = [name for name in _list_folder(folder, declared) if (folder / name).is_dir()]
    labels = {name: label for name in folders if (label := label_of(name)) is not None}
    if len(labels) < len(folders):
        foreign = next(name for name in folders if name not in labels)
        raise InputError(folder / foreign, "a folder of no class", f"{declared.name} has {declared.source}")
    if len(labels) != declared.classes:
        raise InputError(folder, f"{len(labels):,} folders of classes", f"{declared.name} has {declared.classes:,}")
    if declared.labels and sorted(labels.values()) != list(declared.labels):
        foreign = next(name for name in folders if labels[name] not in declared.labels)
        raise InputError(folder / foreign, "a folder of a class it has not", f"{declared.name} has others")
    names: list[bytes] = []
    numbers: list[int] = []
    for name, label in sorted(labels.items(), key=lambda item: item[1]):
        files = [file for file in _list_folder(folder / name, declared) if file.lower().endswith(_SUFFIXES)]
        names += [os.fsencode(f"{name}/{file}") for file in files]
        numbers += [label] * len(files)
    if len(names) != declared.images:
        raise InputError(folder, f"{len(names):,} images", f"{declared.images:,} were published")
    digest = f"{declared.name}:{len(labels)}x{len(names)}"
    return FolderImages(info, "test", digest, torch.tensor(numbers), folder, np.array(names, dtype=np.bytes_))


def _list_folder(folder: Path, declared: OtherTestSet) -> list[str]:
    try:
        # ImageNet-C has 3.75 million names: as paths they would take twice as long.
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError as error:
        raise _missing(folder, error, declared) from None


def _cifar10_c_file(corruption: str, info: DatasetInfo, root: Path) -> NDArray[np.uint8]:
    shape = (5 * _CIFAR10_C.images, info.size, info.size, info.channels)
    return _array(root / _CIFAR10_C.folder / f"{corruption}.npy", shape, _CIFAR10_C)


def _cifar10_c_labels(info: DatasetInfo, root: Path) -> Tensor:
    return _labels(root / _CIFAR10_C.folder / "labels.npy", 5 * _CIFAR10_C.images, info, _CIFAR10_C)


def _array(path: Path, shape: tuple[int, ...], declared: OtherTestSet) -> NDArray[np.uint8]:
    array = _open_array(path, declared)
    if array.shape != shape or array.dtype != np.uint8:
        raise InputError(path, f"{array.dtype} of shape {array.shape}", f"expected uint8 of shape {shape}")
    return array


def _labels(path: Path, count: int, info: DatasetInfo, declared: OtherTestSet) -> Tensor:
    labels_N = _open_array(path, declared)
    if labels_N.shape != (count,) or labels_N.dtype.kind not in "iu":
        wrong = f"{labels_N.dtype} of shape {labels_N.shape}"
        raise InputError(path, wrong, f"expected whole numbers of shape ({count},)")
    invalid = np.flatnonzero((labels_N < 0) | (labels_N >= info.classes))
    if len(invalid):
        raise InputError(path, f"label {labels_N[invalid[0]]} in row {invalid[0]:,}", f"0 to {info.classes - 1}")
    return torch.from_numpy(labels_N.astype(np.int64))


def _open_array(path: Path, declared: OtherTestSet) -> NDArray[Any]:
    """Return the array of an npy file, mapped: only the rows that are used are read. `np.load` would take pickles too,
    which can run code."""
    try:
        return open_memmap(path, mode="c")
    except OSError as error:
        raise _missing(path, error, declared) from None
    except Exception as error:  # of several kinds: the header is read as Python's tokens
        raise InputError(path, f"no whole array: {error}", f"get it again with {declared.obtain}") from None


def _memory(info: DatasetInfo, name: str, pixels_NHWC: NDArray[np.uint8], labels_N: Tensor) -> MemoryImages:
    digest = hashlib.sha256(pixels_NHWC.tobytes() + labels_N.numpy().tobytes())
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2)
    return MemoryImages(info, "test", f"{name} sha256:{digest.hexdigest()}", labels_N, images_NCHW)


def _missing(path: Path, error: OSError, declared: OtherTestSet) -> InputError:
    return InputError(path, f"{error.strerror or error} ({declared.name})", f"get it with {declared.obtain}")
