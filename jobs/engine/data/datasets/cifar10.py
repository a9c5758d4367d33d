"""CIFAR-10 and CIFAR-100 in their published form, Python pickles; of CIFAR-100 the fine labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from experiments.datasets import DatasetInfo, Split
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import read_verified


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in the order of the files. A pickle can run code, so its MD5 is verified before it is
    opened."""
    contents = [read_verified(root, file, info) for file in info.split_files(split)]
    batches = [pickle.loads(content, encoding="bytes") for content in contents]
    pixels_NF = np.concatenate([batch[b"data"] for batch in batches])
    labels = b"fine_labels" if b"fine_labels" in batches[0] else b"labels"
    labels_N = torch.tensor([label for batch in batches for label in batch[labels]])
    images_NCHW = torch.from_numpy(pixels_NF).view(-1, info.channels, info.size, info.size)
    return MemoryImages(info, split, info.split_digest(split), labels_N, images_NCHW)
