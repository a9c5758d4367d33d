"""CIFAR-10 as a folder of JPEGs: the real images up to the loss of compression, and never called CIFAR-10."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.datasets import DatasetInfo, Split
from experiments.errors import InputError
from experiments.regular_files import read_regular
from jobs.datasets.image_file import UnreadableImageError, open_image
from jobs.engine.data.images import MemoryImages
from jobs.engine.data.verified_files import missing_error


def read(info: DatasetInfo, split: Split, root: Path) -> MemoryImages:
    """Return the images in order of class, then of file name. Reads, verifies and decodes one split only, because the
    other takes seconds."""
    folder = root / info.folder / split
    names = [name for class_name in info.class_names for name in _names(info, folder, class_name)]
    if len(names) != info.images(split):
        wrong = f"{len(names):,} images (*.jpg in {len(info.class_names)} class folders)"
        raise InputError(folder, wrong, f"{info.images(split):,} were published; get it with {info.obtain}")
    contents = [_content(folder / name) for name in names]
    digest = _digest(names, contents)
    if digest != info.split_digest(split):
        raise InputError(folder, _first_fault(names, contents, digest), f"get it with {info.obtain}")
    pixels_NHWC = np.stack([_decode(content) for content in contents])
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).contiguous()
    labels = {name: label for label, name in enumerate(info.class_names)}
    labels_N = torch.tensor([labels[name.split("/")[0]] for name in names])
    return MemoryImages(info, split, digest, labels_N, images_NCHW)


def _names(info: DatasetInfo, folder: Path, class_name: str) -> list[str]:
    try:
        return sorted(f"{class_name}/{path.name}" for path in (folder / class_name).iterdir() if path.suffix == ".jpg")
    except OSError as error:
        raise missing_error(info, folder / class_name, error) from None


def _content(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None


def _digest(names: list[str], contents: list[bytes]) -> str:
    # The order of the classes is that of their names, so this is the order of the paths.
    digest = hashlib.sha256()
    for name, content in zip(names, contents, strict=True):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}"


def _first_fault(names: list[str], contents: list[bytes], digest: str) -> str:
    """Return the fault of the folder: the first file that is no complete JPEG, if there is one."""
    for name, content in zip(names, contents, strict=True):
        if not content.endswith(b"\xff\xd9"):
            return f"{name} is truncated ({len(content):,} bytes without the end mark of a JPEG)"
        try:
            _decode(content)
        except UnreadableImageError as error:
            return f"{name}: {error}"
    return f"the files are not those published ({digest})"


def _decode(content: bytes) -> NDArray[np.uint8]:
    with open_image(content) as image:
        return np.asarray(image)
