"""Fashion-MNIST in its published form: gzipped IDX files (a big-endian header of sizes, then bytes)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch

from experiments.datasets import DatasetInfo, Split
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import read_verified


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in the order of the file."""
    images_file, labels_file = info.split_files(split)
    pixels_NHW = _decode_idx(read_verified(root, images_file, info))
    labels_N = _decode_idx(read_verified(root, labels_file, info))
    images_NCHW = torch.from_numpy(pixels_NHW)[:, None]
    return MemoryImages(info, split, info.split_digest(split), torch.from_numpy(labels_N).long(), images_NCHW)


def _decode_idx(gzipped: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the array of an IDX file of unsigned bytes: two zero bytes, type 8, the number of axes, their lengths."""
    content = gzip.decompress(gzipped)
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()
