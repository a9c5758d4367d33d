"""Folders of images, `<class>/<file>`: their files and labels, and each image as a network gets it. Without torch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.datasets import Split
from experiments.errors import InputError
from experiments.own_dataset import Description
from experiments.regular_files import read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def printable(name: str) -> str:
    """Return the name of a file as text: bytes that are not UTF-8, and what can't be printed, are spelled `\\xe9`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def subfolders(folder: Path) -> list[Path]:
    """Return its folders but for hidden ones, in order. Raises InputError if it can't be read."""
    return [path for path in _entries(folder) if path.is_dir() and not _is_hidden(path)]


def class_folders(folder: Path) -> list[str]:
    """Return the names of its subfolders that hold images, in order. Raises InputError if it can't be read."""
    return [path.name for path in subfolders(folder) if image_names(path)]


def find_classes(folder: Path) -> tuple[list[str], str]:
    """Return the class folders, and the folder inside each that holds its images: "", or a name that all share, as in
    Tiny ImageNet's `<class>/images/<file>`. Raises InputError if the folder can't be read."""
    if classes := class_folders(folder):
        return classes, ""
    inside = {path.name: class_folders(path) for path in subfolders(folder)}
    inside = {name: names for name, names in inside.items() if names}
    shared = next(iter(inside.values()), [])
    return (list(inside), shared[0]) if len(shared) == 1 and all(n == shared for n in inside.values()) else ([], "")


def image_names(folder: Path) -> list[str]:
    """Return the names of a folder's images, in order. Raises InputError if it can't be read."""
    return [path.name for path in _entries(folder) if _is_image(path)]


def list_images(
    folder: Path, class_names: Sequence[str], split: Split, test_every: int | None, inside: str = ""
) -> list[tuple[str, int]]:
    """Return the images of a split, as `<class>/<file>` with the label, in order; `test_every` and `inside` as in
    `Description`. Classes are named as their folders or, for names that are no text, as `printable` spells these."""
    folders = {printable(path.name): path.name for path in subfolders(folder)} if folder.is_dir() else {}
    images = []
    for label, class_name in enumerate(class_names):
        place = folders.get(printable(class_name), class_name)
        if inside and (folder / place / inside).is_dir():
            place = f"{place}/{inside}"
        for number, name in enumerate(image_names(folder / place) if (folder / place).is_dir() else []):
            if test_every is None or (number % test_every == 0) == (split == "test"):
                images.append((f"{place}/{name}", label))
    return images


def list_split(root: Path, described: Description, split: Split) -> tuple[Path, list[tuple[str, int]]]:
    """Return the folder of a split under the data folder `root`, and its images."""
    folder = root / described.folder / (described.test_folder if split == "test" else described.train_folder)
    return folder, list_images(folder, described.class_names, split, described.test_every, described.inside or "")


_NAMED = 3
"""The names that are said of each kind of what is left aside."""


def left_aside(folder: Path, classes: Sequence[str], inside: str = "", prefix: str = "") -> list[str]:
    """Return in words, with counts and the first names, what lies in a folder and is no image of its classes."""
    kinds: dict[tuple[str, str], list[str]] = {}

    def add(what: str, path: Path, noun: str = "") -> None:
        noun = noun or ("image" if _is_image(path) else "file")
        text = f"{prefix}{path.relative_to(folder)}"
        kinds.setdefault((noun, what), []).append(text + _suffixes_in(path) if noun == "folder" else text)

    for path in _entries(folder):
        if _is_hidden(path):
            add("hidden by a dot", path)
        elif not path.is_dir():
            add("in no class folder", path)
        elif path.name not in classes:
            add("without images in <class>/<file>", path, "folder")
    for name in classes:
        images = folder / name / inside if (folder / name / inside).is_dir() else folder / name
        for place, folders, files in os.walk(folder / name):
            hidden = [entry for entry in folders if entry.startswith(".")]
            folders[:] = sorted(set(folders) - set(hidden))
            for path in (Path(place, entry) for entry in sorted([*hidden, *files])):
                if _is_hidden(path):
                    add("hidden by a dot", path)
                elif path.parent != images:
                    add(f"outside of <class>/{inside}/" if inside else "deeper than <class>/<file>", path)
                elif not _is_image(path):
                    suffix = f"named *{path.suffix}" if path.suffix else "without a suffix"
                    add(f"{suffix}, which is none of {' '.join(SUFFIXES)}", path)
    return [
        f"left aside: {len(names):,} {noun}{'s' * (len(names) != 1)} {what} ({first_names(names)})"
        for (noun, what), names in kinds.items()
    ]


def _suffixes_in(folder: Path) -> str:
    counts = Counter(path.suffix for path in folder.rglob("*") if path.is_file() and not _is_hidden(path))
    listed = ", ".join(
        f"{count:,} {f'*{suffix}' if suffix else 'without a suffix'}" for suffix, count in counts.items()
    )
    return f": {listed}" if listed else ""


def alike_but_for_case(folder: Path, classes: Sequence[str], inside: str = "") -> list[str]:
    """Return in words which names of classes, or of images of a class, differ by case alone."""
    places = {"": list(classes)}
    for name in classes:
        place = f"{name}/{inside}" if inside and (folder / name / inside).is_dir() else name
        places[f"{place}/"] = image_names(folder / place) if (folder / place).is_dir() else []
    notes = []
    for place, names in places.items():
        spellings: dict[str, list[str]] = {}
        for name in names:
            spellings.setdefault(name.casefold(), []).append(name)
        if twins := [group for group in spellings.values() if len(group) > 1]:
            listed = " and ".join(printable(f"{place}{name}") for name in twins[0])
            more = f" ({len(twins):,} such names)" if len(twins) > 1 else ""
            notes.append(f"{listed} differ by case alone{more}: each is read; some disks hold but one of them")
    return notes


def first_names(names: Sequence[str]) -> str:
    """Return the first of some names, as they are said in a line."""
    return ", ".join(map(printable, names[:_NAMED])) + ", …" * (len(names) > _NAMED)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(folder, error.strerror or str(error)) from None


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path)


def read_files(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Yield the content of the files, in order. Raises InputError if one can't be read."""
    for name in names:
        try:
            yield read_regular(folder / name)
        except OSError as error:
            raise InputError(folder / name, error.strerror or str(error)) from None


def name_in_digest(path: str, class_name: str) -> str:
    """Return `<class>/<file>` of an image, wherever below its split's folder it lies."""
    return f"{class_name}/{path.rpartition('/')[2]}"


class SplitDigest:
    """The digest of a split, computed file by file: see `Description.test_digest`."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        self._sum.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape"))
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
