"""A user's own folders of images, held decoded; verified against the description by `cebctl init`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from experiments import own_dataset
from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from jobs.datasets import image_folder
from jobs.engine.data.images import MemoryImages


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in order of class, then of file name. Raises InputError if they are not those described."""
    folder, listed = image_folder.list_split(root, own_dataset.read(info.name), split)
    if len(listed) != info.images(split):
        raise InputError(folder, f"{len(listed):,} images; {info.name} has {info.images(split):,}", own_dataset.CHANGED)
    digest = image_folder.SplitDigest()
    pixels_NHWC = np.empty((len(listed), info.size, info.size, info.channels), np.uint8)
    names = [name for name, _ in listed]
    for number, (name, content) in enumerate(zip(names, image_folder.read_files(folder, names), strict=True)):
        digest.add(name, content)
        pixels_NHWC[number] = image_folder.decode_image(content, folder / name, info.channels, info.size)
    if digest.text != info.split_digest(split):
        raise InputError(folder, f"its images are not those of {info.name}: changed since", own_dataset.CHANGED)
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()
    return MemoryImages(info, split, digest.text, torch.tensor([label for _, label in listed]), images_NCHW)
