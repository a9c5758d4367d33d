"""STL-10 in its published form: bytes of images, each channel column by column, and of labels from 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from experiments.datasets import DatasetInfo, Split
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import read_verified


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the labelled images in the order of the file."""
    pixels, labels = (np.frombuffer(read_verified(root, file, info), np.uint8) for file in info.split_files(split))
    pixels_NCWH = pixels.reshape(-1, info.channels, info.size, info.size)
    images_NCHW = torch.from_numpy(np.ascontiguousarray(pixels_NCWH.swapaxes(2, 3)))
    return MemoryImages(
        info, split, info.split_digest(split), torch.from_numpy(labels.astype(np.int64) - 1), images_NCHW
    )
