"""Folders of images, `<class>/<file>`: their files and labels, and each image as a network gets it. Without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.datasets import Split
from experiments.errors import InputError
from experiments.own_dataset import Description

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def class_folders(folder: Path) -> list[str]:
    """Return the names of its subfolders that hold images, in order. Raises InputError if it can't be read."""
    try:
        subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(folder, error.strerror or str(error)) from None
    return [path.name for path in subfolders if image_names(path)]


def image_names(folder: Path) -> list[str]:
    """Return the names of a folder's images, in order. Raises InputError if it can't be read."""
    try:
        return sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise InputError(folder, error.strerror or str(error)) from None


def list_images(
    folder: Path, class_names: Sequence[str], split: Split, test_every: int | None
) -> list[tuple[str, int]]:
    """Return the images of a split, as `<class>/<file>` with the label, in order; `test_every` as in `Description`."""
    images = []
    for label, class_name in enumerate(class_names):
        for number, name in enumerate(image_names(folder / class_name) if (folder / class_name).is_dir() else []):
            if test_every is None or (number % test_every == 0) == (split == "test"):
                images.append((f"{class_name}/{name}", label))
    return images


def list_split(root: Path, described: Description, split: Split) -> tuple[Path, list[tuple[str, int]]]:
    """Return the folder of a split under the data folder `root`, and its images."""
    folder = root / described.folder / (described.test_folder if split == "test" else described.train_folder)
    return folder, list_images(folder, described.class_names, split, described.test_every)


def read_files(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Yield the content of the files, in order. Raises InputError if one can't be read."""
    for name in names:
        try:
            yield (folder / name).read_bytes()
        except OSError as error:
            raise InputError(folder / name, error.strerror or str(error)) from None


class SplitDigest:
    """The digest of a split, computed file by file: see `Description.test_digest`."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        self._sum.update(f"{name}\0{len(content)}\0".encode())
        self._sum.update(content)

    @property
    def text(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"


def decode_image(content: bytes, path: Path, channels: int, size: int) -> NDArray[np.uint8]:
    """Return the pixels of an image as `square_pixels` does. Raises InputError, naming `path`, if it is no image."""
    from jobs.datasets.image_file import UnreadableImageError

    try:
        return square_pixels(content, channels, size)
    except UnreadableImageError as error:
        raise InputError(path, str(error)) from None


def square_pixels(content: bytes, channels: int, size: int) -> NDArray[np.uint8]:
    """Return the image upright, of shape (size, size, channels): its short side resized bicubically to `size`, then the
    central square cut out. Raises UnreadableImageError."""
    import numpy as np
    from PIL import Image, ImageOps

    from jobs.datasets.image_file import open_image, upright

    with open_image(content) as opened:
        image = upright(opened).convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
