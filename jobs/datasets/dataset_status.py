"""The state of data sets under the data folder: whether their files are there and, if asked, are the published ones.

Without torch, and without anything of a network.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments import datasets, own_dataset
from experiments.datasets import DatasetInfo
from experiments.errors import InputError, expected
from experiments.regular_files import open_regular
from jobs.datasets import image_folder

_IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class DatasetStatus:
    """The state of one data set under the data folder."""

    name: str
    state: Literal["ready", "damaged", "missing"]
    detail: str
    """For people: the place and how far it was checked, or the fault and how to get the data set."""


def dataset_status(name: str, root: Path, *, verify: bool = True, count: bool = False) -> DatasetStatus:
    """Return the state of a data set: published files are verified by checksum, unless `verify` is false; of folders of
    images the classes are counted, with `count` the images too: a minute for ImageNet on a network file system."""
    if own_dataset.is_own(name):
        return _own(name, root, verify)
    info = known_info(name)
    folder = root / info.folder
    if not info.folder:
        return DatasetStatus(name, "ready", "inside scikit-learn")
    if not folder.is_dir():
        return DatasetStatus(name, "missing", f"{folder} does not exist; get it with {info.obtain}")
    faults = find_faults(info, root, verify=verify) or (_count_faults(info, root) if count else [])
    if faults:
        return DatasetStatus(name, "damaged", f"{'; '.join(faults)}; get it with {info.obtain}")
    return DatasetStatus(name, "ready", f"{folder}, {'verified' if info.files else 'verified when it is read'}")


def known_info(name: str) -> DatasetInfo:
    """Return a data set by its name. Raises InputError if there is none."""
    if name not in datasets.DATASETS and not own_dataset.is_own(name):
        raise InputError(name, "no data set of this name", expected(datasets.DATASETS, name))
    return datasets.info(name)


_MOVED = "put it back, or run `cebctl init` on it where it lies now: it is the same data set"


def _own(name: str, root: Path, verify: bool) -> DatasetStatus:
    """Return the state of a user's folders of images by the number of images."""
    description_path = own_dataset.description_path(name)
    if not description_path.exists():
        return DatasetStatus(name, "missing", f"{description_path} does not exist; `cebctl init` writes it")
    try:
        info, described = datasets.info(name), own_dataset.read(name)
    except InputError as error:
        return DatasetStatus(name, "damaged", str(error))
    if described.reader:
        sources = own_dataset.sources_path(name)
        if not sources.is_dir():
            return DatasetStatus(info.name, "missing", f"{sources} does not exist; `cebctl init` writes it")
        return DatasetStatus(info.name, "ready", f"read by {described.reader.origin}, verified when it is read")
    splits: tuple[datasets.Split, ...] = ("train", "test")
    for split in splits if verify else ():
        folder, listed = image_folder.list_split(root, described, split)
        if not folder.is_dir():
            return DatasetStatus(info.name, "missing", f"{folder} does not exist; {_MOVED}")
        if len(listed) != info.images(split):
            fault = f"{folder} holds {len(listed):,} of {info.images(split):,} {split} images"
            return DatasetStatus(info.name, "damaged", f"{fault}; {own_dataset.CHANGED}")
    if not (root / info.folder).is_dir():
        return DatasetStatus(info.name, "missing", f"{root / info.folder} does not exist; {_MOVED}")
    return DatasetStatus(info.name, "ready", f"{root / info.folder}, verified when it is read")


def find_faults(info: DatasetInfo, root: Path, *, verify: bool) -> list[str]:
    """Return the faults of the files, or of the folders of images, under `root`."""
    faults = []
    for file in info.files:
        if not verify and (root / file.path).is_file():
            continue
        md5 = file_md5(root / file.path)
        if md5 != file.md5:
            faults.append(f"{root / file.path} is {'missing' if md5 is None else 'truncated or changed'}")
    class_folders = [] if info.files else ["train", *([] if info.test_labels else [info.test_folder])]
    for split in class_folders:
        folder = root / info.folder / split
        classes = sum(entry.is_dir() for entry in folder.iterdir()) if folder.is_dir() else 0
        if classes != info.classes:
            faults.append(f"{folder} holds {classes} of {info.classes} class folders")
    if info.test_labels and not (root / info.folder / info.test_labels).is_file():
        faults.append(f"{root / info.folder / info.test_labels} is missing")
    return faults


def _count_faults(info: DatasetInfo, root: Path) -> list[str]:
    """Return the splits in class folders that hold another number of images than was published."""
    if info.files or info.test_labels:
        return []
    splits: tuple[tuple[datasets.Split, str], ...] = (("train", "train"), ("test", info.test_folder))
    counts = {split: count_images(root / info.folder / name) for split, name in splits}
    return [
        f"{root / info.folder / name} holds {counts[split]:,} of {info.images(split):,} images"
        for split, name in splits
        if counts[split] != info.images(split)
    ]


def count_images(folder: Path) -> int:
    """Return the number of images in the folders of a folder."""
    count = 0
    for classes in folder.iterdir():
        if classes.is_dir():
            with os.scandir(classes) as entries:
                count += sum(entry.name.lower().endswith(_IMAGE_SUFFIXES) for entry in entries)
    return count


def file_md5(path: Path) -> str | None:
    """Return the checksum of a file, None where there is none that can be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, new_md5).hexdigest()  # type: ignore[arg-type]
    except OSError:
        return None


def new_md5() -> hashlib._Hash:
    """Return a hash of the kind that data sets are published with; no secret rests on it."""
    return hashlib.md5(usedforsecurity=False)
