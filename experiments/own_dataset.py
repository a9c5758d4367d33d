"""A user's own images as a data set, described in a file under CEBCTL_DATA and named by its digest.

They are folders of images, or what a function of one's own reads (`data: {from: parts.py:scans}`).

    CEBCTL_DATA/own/pets-1f3a9c0d2b7e.json     written by `cebctl init`
    data: own:pets-1f3a9c0d2b7e                in a matrix

The name ends in a digest of the description, which has the digests of the images. So a run's identity covers the
images, as it does those of a published set, but not the place of the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from experiments.atomic_files import write_atomic
from experiments.errors import InputError

PREFIX = "own:"
CHANGED = (
    "if you changed the folder on purpose, run `cebctl init` again (a changed folder is another data set); "
    "else put the images back"
)
"""The advice where the images are not those of the description."""
_NAME = re.compile(PREFIX + r"[a-z0-9_-]{1,40}-[0-9a-f]{12}")

Count = Annotated[int, Meta(ge=1)]
Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]


class Reader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"origin": "from"}):
    """The function that reads the images: as `experiments.spec.Part` names it."""

    origin: str
    digest: str


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a folder of images."""

    folder: str
    """Its path, absolute or below CEBCTL_DATA. The only field that may change."""
    train_folder: str
    """The folder of class folders below `folder`, empty for `folder` itself. `test_folder` may be the same."""
    test_folder: str
    test_every: Count | None
    """Of one folder for both splits: of each class, image 0 and every n-th after it are test images, by name."""
    class_names: tuple[str, ...]
    """In the order of the labels."""
    channels: Literal[1, 3]
    size: Count
    """Height and width in pixels, as the network sees them: the short side is brought to it, the centre is taken."""
    train: Count
    test: Count
    mean: tuple[float, ...]
    """Per channel, over training images in [0, 1]; `std` likewise."""
    std: tuple[float, ...]
    flips: bool
    """`crop_flip` mirrors."""
    train_digest: Digest
    test_digest: Digest
    """Of the files, in order: `<class>/<file>`, NUL, the length in decimal, NUL, the bytes. Of a reader's images: of
    their bytes (N, C, H, W) and of their labels, int64, little-endian."""
    inside: str | UnsetType = UNSET
    """The folder within each class's that holds its images, such as `images`. Unset: they lie in the class's own."""
    reader: Reader | UnsetType = UNSET
    """Unset: the images lie in `folder`. Else a function reads them, whose sources lie beside the description, and the
    fields of folders are empty. Other code that reads the same images makes no other data set."""


def is_own(name: str) -> bool:
    """Return whether a name is that of a user's own data set."""
    return name.startswith(PREFIX)


def dataset_name(slug: str, description: Description) -> str:
    """Return the name of the data set of a description: `slug` and a digest of all but the folder and the reader."""
    fields = {k: v for k, v in msgspec.to_builtins(description).items() if k not in ("folder", "reader")}
    digest = hashlib.sha256(b"cebctl own data 1\0" + msgspec.json.encode(fields, order="sorted")).hexdigest()
    return f"{PREFIX}{slug}-{digest[:12]}"


def data_folder() -> Path:
    """Return the folder of the data sets, CEBCTL_DATA."""
    return Path(os.environ.get("CEBCTL_DATA") or "data").absolute()


def description_path(name: str) -> Path:
    """Return the path of the description of a data set."""
    return data_folder() / "own" / f"{name.removeprefix(PREFIX)}.json"


def sources_path(name: str) -> Path:
    """Return the folder of the sources of a data set's reader."""
    return description_path(name).with_suffix("")


def described_by(reader: Reader) -> list[str]:
    """Return the names of the data sets under CEBCTL_DATA that this function has read."""
    described = []
    for name in names():
        try:
            if read(name).reader == reader:
                described.append(name)
        except InputError:
            continue  # whoever uses it meets the error
    return described


def write(name: str, description: Description) -> Path:
    """Write a description for `read` and return its path. One of the same name differs in its folder at most."""
    path = description_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(description)) + b"\n")
    return path


def names() -> list[str]:
    """Return the names of the data sets that CEBCTL_DATA has descriptions of."""
    candidates = (f"{PREFIX}{path.stem}" for path in data_folder().glob("own/*.json"))
    return sorted(name for name in candidates if _NAME.fullmatch(name))


def read(name: str) -> Description:
    """Return the description of a data set. Raises InputError if it is missing or its digest is not the name's."""
    # The path is a key of the cache, because CEBCTL_DATA may change within a process.
    return _read(name, description_path(name))


@cache
def _read(name: str, path: Path) -> Description:
    advice = "`cebctl init` on the folder of images writes it again"
    try:
        description = msgspec.json.decode(path.read_bytes(), type=Description)
    except FileNotFoundError:
        raise InputError(f"data set {name}", f"{path} is missing", f"{advice}; is CEBCTL_DATA right?") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(path, str(error), advice) from None
    if not _NAME.fullmatch(name) or dataset_name(name.removeprefix(PREFIX)[:-13], description) != name:
        raise InputError(path, f"describes other images than {name}", advice)
    return description
