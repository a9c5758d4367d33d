"""The state of the published test sets under the data folder, by their files alone. Without torch.

Arrays are compared with the size that their shape gives, folders of classes and their images are counted. Of sets of
corrupted images only the folders are: ImageNet-C alone has 3.75 million files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from experiments.datasets import OTHER_TEST_SETS, OtherTestSet
from experiments.needed_images import NeededImages
from jobs.datasets.dataset_status import DatasetStatus, count_images, dataset_status

_CIFAR_BYTES = 32 * 32 * 3
_SEVERITIES = range(1, 6)


def images_status(needed: NeededImages, root: Path) -> DatasetStatus:
    """Return the state of a set of images: missing as a whole or in parts, damaged, or ready."""
    if needed.name not in OTHER_TEST_SETS:
        return dataset_status(needed.name, root, verify=False)
    declared = OTHER_TEST_SETS[needed.name]
    folder = root / declared.folder
    if not folder.is_dir():
        return DatasetStatus(declared.name, "missing", f"{folder} does not exist; {_how_to_get(declared)}")
    faults: list[str] = []
    if declared.name.startswith("cifar10"):
        parts = _arrays(declared, needed.corruptions)
        absent = [name for name in parts if not (folder / name).is_file()]
        faults = [
            f"{folder / name} is truncated"
            for name, least in parts.items()
            if name not in absent and (folder / name).stat().st_size < least
        ]
    elif needed.corruptions or declared.corrupted:
        parts = dict.fromkeys([f"{name}/{severity}" for name in needed.corruptions for severity in _SEVERITIES], 0)
        absent = [name for name in parts if not (folder / name).is_dir()]
        faults = [fault for name in parts if name not in absent for fault in _class_faults(folder / name, declared)]
    else:
        parts, absent = {"": 0}, []
        faults = _class_faults(folder, declared) or _image_faults(folder, declared)
    if absent:
        there = f"{len(parts) - len(absent)} of {len(parts)} parts are in {folder}, {_first(absent)} not"
        return DatasetStatus(declared.name, "missing", f"{there}; {_how_to_get(declared)}")
    if faults:
        return DatasetStatus(declared.name, "damaged", f"{_first(faults)}; {_how_to_get(declared)}")
    return DatasetStatus(declared.name, "ready", f"{folder}, verified when it is read")


def _how_to_get(declared: OtherTestSet) -> str:
    return f"its form: {declared.source}; get it with {declared.obtain}"


def _arrays(declared: OtherTestSet, corruptions: Sequence[str]) -> dict[str, int]:
    """Return the files of a set in arrays, with the bytes that each has at least."""
    if declared.corrupted:
        count = declared.images * len(_SEVERITIES)
        return {f"{name}.npy": count * _CIFAR_BYTES for name in corruptions} | {"labels.npy": count}
    version = declared.name.rpartition("-")[2]
    sizes = {"data": declared.images * _CIFAR_BYTES, "labels": declared.images}
    return {f"cifar10.1_{version}_{part}.npy": size for part, size in sizes.items()}


def _class_faults(folder: Path, declared: OtherTestSet) -> list[str]:
    with os.scandir(folder) as entries:
        classes = sum(entry.is_dir() for entry in entries)
    return [f"{folder} holds {classes:,} of {declared.classes:,} class folders"] if classes != declared.classes else []


def _image_faults(folder: Path, declared: OtherTestSet) -> list[str]:
    images = count_images(folder)
    return [f"{folder} holds {images:,} of {declared.images:,} images"] if images != declared.images else []


def _first(items: Sequence[str]) -> str:
    return items[0] + (f" (and {len(items) - 1} more)" if len(items) > 1 else "")
