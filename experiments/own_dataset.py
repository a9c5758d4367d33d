"""A user's own folders of images as a data set, described in a file under CEBCTL_DATA and named by what they hold.

    CEBCTL_DATA/own/pets-1f3a9c0d2b7e.json     written by `cebctl init`
    data: own:pets-1f3a9c0d2b7e                in a matrix

The name ends in a digest of the description, which holds those of the images. So a run's identity covers them, as it
does those of a published set, but not where they lie.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from experiments.atomic_files import replacing
from experiments.errors import InputError

PREFIX = "own:"
CHANGED = (
    "if you changed the folder on purpose, run `cebctl init` again (a changed folder is another data set); "
    "else put the images back"
)
"""What to do where the images are not those described."""
_NAME = re.compile(PREFIX + r"[a-z0-9_-]{1,40}-[0-9a-f]{12}")

Count = Annotated[int, Meta(ge=1)]
Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a folder of images holds."""

    folder: str
    """Where it lies: from the root, or from CEBCTL_DATA. The only field that may change."""
    train_folder: str
    """Below `folder`; class folders lie in it. The test images' may be the same, empty for `folder` itself."""
    test_folder: str
    test_every: Count | None
    """Of one folder for both: image 0 and every so many-th of each class are test images, in order of name."""
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
    """Whether `crop_flip` mirrors."""
    train_digest: Digest
    test_digest: Digest
    """Of the files, in order: `<class>/<file>`, NUL, the length in decimal, NUL, the bytes."""


def is_own(name: str) -> bool:
    """Whether a data set is described under CEBCTL_DATA."""
    return name.startswith(PREFIX)


def dataset_name(slug: str, found: Description) -> str:
    """The name of a data set of this description."""
    parts = {key: value for key, value in msgspec.to_builtins(found).items() if key != "folder"}
    digest = hashlib.sha256(b"cebctl own data 1\0" + msgspec.json.encode(parts, order="sorted")).hexdigest()
    return f"{PREFIX}{slug}-{digest[:12]}"


def data_folder() -> Path:
    """CEBCTL_DATA: where the data sets lie."""
    return Path(os.environ.get("CEBCTL_DATA") or "data").absolute()


def description_path(name: str) -> Path:
    """Where the description of this name lies."""
    return data_folder() / "own" / f"{name.removeprefix(PREFIX)}.json"


def write(name: str, found: Description) -> Path:
    """Keep the description where `read` finds it; its file. One of that name says the same but for the folder."""
    path = description_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return path


def names() -> list[str]:
    """Those described under CEBCTL_DATA."""
    found = (f"{PREFIX}{path.stem}" for path in data_folder().glob("own/*.json"))
    return sorted(name for name in found if _NAME.fullmatch(name))


def read(name: str) -> Description:
    """The description of this name. Raises InputError if it is missing or another one than the name says."""
    return _read(name, description_path(name))


@cache
def _read(name: str, path: Path) -> Description:
    again = "`cebctl init` on the folder of images writes it again"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Description)
    except FileNotFoundError:
        raise InputError(f"data set {name}", f"{path} is missing", f"{again}; is CEBCTL_DATA right?") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(path, str(error), again) from None
    if not _NAME.fullmatch(name) or dataset_name(name.removeprefix(PREFIX)[:-13], found) != name:
        raise InputError(path, f"describes other images than {name}", again)
    return found
