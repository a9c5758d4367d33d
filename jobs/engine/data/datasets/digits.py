"""scikit-learn's handwritten digits: 1,797 images of 8x8 pixels with 17 grey values, inside the package."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import torch

from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import missing_error, packaged_by_sklearn


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images: 0, 5, 10, … are the test images; a pixel v of 0-16 becomes (255 v + 8) // 16. `root` is not
    used."""
    path = packaged_by_sklearn("data/digits.csv.gz")
    try:
        table_NF = np.loadtxt(gzip.decompress(path.read_bytes()).decode().splitlines(), delimiter=",", dtype=np.uint16)
    except OSError as error:
        raise missing_error(info, path, error) from None
    table_NF = table_NF[(np.arange(len(table_NF)) % 5 == 0) == (split == "test")]
    pixels_NF = ((255 * table_NF[:, :-1] + 8) // 16).astype(np.uint8)
    labels_N = table_NF[:, -1].astype(np.uint8)
    digest = "sha256:" + hashlib.sha256(pixels_NF.tobytes() + labels_N.tobytes()).hexdigest()
    if digest != info.split_digest(split):
        raise InputError(path, f"the {split} images have {digest}", f"expected: {info.split_digest(split)}")
    images_NCHW = torch.from_numpy(pixels_NF).view(-1, info.channels, info.size, info.size)
    return MemoryImages(info, split, digest, torch.from_numpy(labels_N).long(), images_NCHW)
