"""A user's own images, of folders or of a function, held decoded; verified against `cebctl init`'s description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from experiments import own_dataset
from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from experiments.spec import Part
from jobs import file_ownership, own_parts
from jobs.datasets import image_folder
from jobs.engine.data.datasets.own_reader import digest_of, read_split
from jobs.engine.data.images import MemoryImages


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in order of class, then of file name, or in that of their reader. Raises InputError if they are
    not those described."""
    description = own_dataset.read(info.name)
    if description.reader:
        return _by_reader(description.reader, info, split, root)
    folder, listed = image_folder.list_split(root, description, split)
    if len(listed) != info.images(split):
        raise InputError(folder, f"{len(listed):,} images; {info.name} has {info.images(split):,}", own_dataset.CHANGED)
    digest = image_folder.SplitDigest()
    pixels_NHWC = np.empty((len(listed), info.size, info.size, info.channels), np.uint8)
    names = [name for name, _ in listed]
    for number, ((name, label), content) in enumerate(zip(listed, image_folder.read_files(folder, names), strict=True)):
        digest.add(image_folder.name_in_digest(name, description.class_names[label]), content)
        pixels_NHWC[number] = image_folder.decode_image(content, folder / name, info.channels, info.size)
    if digest.text != info.split_digest(split):
        raise InputError(folder, f"its images are not those of {info.name}: changed since", own_dataset.CHANGED)
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()
    return MemoryImages(info, split, digest.text, torch.tensor([label for _, label in listed]), images_NCHW)


def _by_reader(reader: own_dataset.Reader, info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    sources = own_dataset.sources_path(info.name)
    for path in (
        own_dataset.description_path(info.name),
        *([sources, *sources.rglob("*")] if sources.exists() else ()),
    ):
        file_ownership.check_private(path, sources.parent)  # else another user's code would be run
    own_parts.use_sources(sources)
    images = read_split(Part(origin=reader.origin, digest=reader.digest), split, root)
    numbers = {name: number for number, name in enumerate(info.class_names)}
    try:
        labels_N = torch.tensor([numbers[name] for name in images.labels])
    except KeyError as error:
        raise InputError(reader.origin, f"a label {error} that {info.name} does not have", _READ_AGAIN) from None
    digest = digest_of(images.images_NCHW, labels_N)
    if digest != info.split_digest(split):
        raise InputError(reader.origin, f"its {split} images are not those of {info.name}", _READ_AGAIN)
    return MemoryImages(info, split, digest, labels_N, images.images_NCHW)


_READ_AGAIN = "if they changed on purpose, `cebctl init` on it describes another data set; else put them back"
