"""Images of one data set at the size and channels of another: for out-of-distribution detection."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from experiments import datasets
from experiments.datasets import DatasetInfo
from experiments.errors import InputError
from experiments.spec import Data
from jobs.datasets.image_file import UnreadableImageError, open_image
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.data.images import ImageSet, MemoryImages
from jobs.engine.data.load import load
from jobs.engine.data.verified_files import packaged_by_sklearn

WINDOW = 32
"""Side of the windows of photographs, in pixels."""


@dataclass(frozen=True)
class Resize:
    """Resizes bicubically to size x size and makes grey or coloured; an image that has this form stays as it is."""

    size: int
    channels: int

    def __call__(self, pixels_HWC: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        if pixels_HWC.shape == (self.size, self.size, self.channels):
            return pixels_HWC
        image = Image.fromarray(pixels_HWC.squeeze(2) if pixels_HWC.shape[2] == 1 else pixels_HWC)
        image = image.convert("L" if self.channels == 1 else "RGB")
        resized = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(resized).reshape(self.size, self.size, self.channels)


def load_resized(name: str, info: DatasetInfo, root: Path) -> ImageSet:
    """Return the test images of a data set, `imagenet-sample` or `photographs` at `info`'s size and channels.

    Raises InputError, one line that names the file, if they are missing.
    """
    images: ImageSet
    if name == "photographs":
        images = photographs()
    elif name == "imagenet-sample":
        images = other_test_sets.imagenet_sample(root, info.size, datasets.info("imagenet"))
    else:
        images = load(msgspec.convert({"name": name}, Data), "test", root)
    return replace(images, transform=Resize(info.size, info.channels))


def photographs() -> MemoryImages:
    """Return 520 windows of 32x32 pixels, side by side, of the two photographs that scikit-learn ships."""
    windows = []
    for path in (packaged_by_sklearn(f"images/{name}.jpg") for name in ("china", "flower")):
        try:
            with open_image(path) as image:
                pixels_HWC = np.asarray(image.convert("RGB"))
        except UnreadableImageError as error:
            raise InputError(path, str(error), "get it with pip install scikit-learn") from None
        rows, columns = (side // WINDOW for side in pixels_HWC.shape[:2])
        cut = pixels_HWC[: rows * WINDOW, : columns * WINDOW].reshape(rows, WINDOW, columns, WINDOW, 3)
        windows.append(cut.swapaxes(1, 2).reshape(-1, WINDOW, WINDOW, 3))
    pixels_NHWC = np.concatenate(windows)
    digest = "photographs sha256:" + hashlib.sha256(pixels_NHWC.tobytes()).hexdigest()
    labels_N = torch.zeros(len(pixels_NHWC), dtype=torch.int64)
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2)
    return MemoryImages(datasets.info("cifar10"), "test", digest, labels_N, images_NCHW)
