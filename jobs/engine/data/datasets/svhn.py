"""SVHN in its published form: MATLAB files of cropped digits, in which the label 10 stands for the digit 0."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat

from experiments.datasets import DatasetInfo, Split
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import read_verified


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in the order of the file."""
    [file] = info.split_files(split)
    arrays = loadmat(io.BytesIO(read_verified(root, file, info)))
    images_NCHW = torch.from_numpy(np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1)))
    labels_N = torch.from_numpy(arrays["y"].astype(np.int64)[:, 0]) % 10
    return MemoryImages(info, split, info.split_digest(split), labels_N, images_NCHW)
