"""ImageNet (ILSVRC 2012) as folders named by WordNet id, decoded image by image as they are used."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from jobs.engine.data.images import FolderImages
from jobs.engine.data.verified_files import missing_error

_WORDNET_ID = re.compile(r"n\d{8}")
_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}


def read(info: DatasetInfo, split: Split, root: Path) -> FolderImages:
    """Return the images, labelled by the rank of their folder among the sorted WordNet ids. Files are listed, not
    opened."""
    folder = root / info.folder / _FOLDERS[split]
    try:
        classes = sorted(path.name for path in folder.iterdir() if _WORDNET_ID.fullmatch(path.name))
    except OSError as error:
        raise missing_error(info, folder, error) from None
    if len(classes) != info.classes:
        raise InputError(folder, f"{len(classes):,} folders named by a WordNet id", f"{info.classes:,} are expected")
    names_by_class = [_list_images(folder, name) for name in classes]
    labels_N = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(names) for names in names_by_class]))
    if len(labels_N) != info.images(split):
        raise InputError(folder, f"{len(labels_N):,} images (*.JPEG)", f"{info.images(split):,} are expected")
    names_N = np.array([name for names in names_by_class for name in names], dtype=np.bytes_)
    return FolderImages(info, split, info.split_digest(split), labels_N, folder, names_N)


def _list_images(root: Path, class_name: str) -> list[bytes]:
    folder = root / class_name
    try:
        names = [path.name for path in folder.iterdir() if path.suffix.upper() == ".JPEG"]
        return sorted(os.fsencode(f"{class_name}/{name}") for name in names)
    except OSError as error:
        raise InputError(folder, error.strerror or str(error)) from None
