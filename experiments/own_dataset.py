"""A user's own images as a data set, described in a file under CEBCTL_DATA and named by its digest.

They are folders of images, or what a function of one's own reads (`data: {from: parts.py:scans}`).

    CEBCTL_DATA/own/pets-1f3a9c0d2b7e6458.json     written by `cebctl init`
    data: own:pets-1f3a9c0d2b7e6458                in a matrix
    own:1f3a9c0d2b7e6458                           in the spec of a run

The name ends in a digest of the description, which has the digests of the images: of the classes in order, of the
images and of how a network sees them. What stands before it is a label. So a run's identity covers the images, as it
does those of a published set, but not the names or the places of folders. Names of 12 digits were given by earlier
versions. A run's identity has these in full, label included, and their digest covers `train_folder`, `test_folder` and
`test_every` too; `alike` tells that they are of the same images.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from experiments import user_paths
from experiments.atomic_files import read_json, write_atomic
from experiments.errors import InputError
from experiments.regular_files import read_regular

PREFIX = "own:"
CHANGED = (
    "if you changed the folder on purpose, run `cebctl init` again (a changed folder is another data set); "
    "else put the images back"
)
"""The advice where the images are not those of the description."""
_NAME = re.compile(
    PREFIX + r"(?:(?:[a-z0-9_-]{1,40}-)?(?P<digest>[0-9a-f]{16})|[a-z0-9_-]{1,40}-(?P<earlier>[0-9a-f]{12}))"
)
_PLACE = ("folder", "train_folder", "test_folder", "test_every", "inside", "reader")
"""The fields that say where the images are."""
_further_folders: list[Path] = []
_paths: dict[tuple[object, ...], Path] = {}
"""Where descriptions lie, by name and folders: a matrix asks for each of its runs."""

Count = Annotated[int, Meta(ge=1)]
Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]


class Reader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"origin": "from"}):
    """The function that reads the images: as `experiments.spec.Part` names it."""

    origin: str
    digest: str


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a folder of images."""

    folder: str
    """Its path, absolute or below CEBCTL_DATA."""
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
    """Return the name of the data set of a description: the label `slug`, and a digest of all but the place of the
    images."""
    return f"{PREFIX}{slug}-{_digest(description)}"


def _digest(description: Description) -> str:
    return _tagged_digest(description, b"cebctl own data 2", _PLACE)[:16]


def _earlier_digest(description: Description) -> str:
    """Return the digest in the names that earlier versions gave."""
    return _tagged_digest(description, b"cebctl own data 1", ("folder", "reader"))[:12]


def _tagged_digest(description: Description, tag: bytes, left_out: Sequence[str]) -> str:
    fields = {name: value for name, value in msgspec.to_builtins(description).items() if name not in left_out}
    return hashlib.sha256(tag + b"\0" + msgspec.json.encode(fields, order="sorted")).hexdigest()


def in_spec(name: str) -> str:
    """Return a data set's name as specs have it: without its label, unless an earlier version gave it."""
    match = _NAME.fullmatch(name)
    return f"{PREFIX}{match['digest']}" if match and match["digest"] else name


def labelled(name: str) -> str:
    """Return a data set's name with the label that its description has here."""
    return f"{PREFIX}{description_path(name).stem}" if is_own(name) else name


def alike(name: str) -> list[str]:
    """Return the names, as specs have them, under which the images of a data set are known here: the one that does not
    depend on the label first. Raises InputError as `read` does."""
    digest = _digest(read(name))
    earlier = []
    for other in names(further=True):
        try:
            if in_spec(other) == other and _digest(read(other)) == digest:
                earlier.append(other)
        except InputError:
            continue  # whoever uses it meets the error
    return list(dict.fromkeys([f"{PREFIX}{digest}", *earlier]))


def data_folder() -> Path:
    """Return the folder of the data sets, CEBCTL_DATA."""
    return user_paths.check_folder(user_paths.from_variable("CEBCTL_DATA", "data"), "CEBCTL_DATA")


def is_same(name: str, other: str) -> bool:
    """Return whether two names are of one data set. Raises InputError as `read` does."""
    if name == other or not (is_own(name) and is_own(other)):
        return name == other
    return _digest(read(name)) == _digest(read(other))


def look_into(folder: Path) -> None:
    """Look for descriptions in a further folder too, after CEBCTL_DATA: a home's copies of them."""
    if folder not in _further_folders:
        _further_folders.append(folder)


def description_path(name: str) -> Path:
    """Return the path of the description of a data set, whatever label it has there; if there is none, the path that
    `write` would give it."""
    key = name, *_folders()
    if key not in _paths:
        stem, match = name.removeprefix(PREFIX), _NAME.fullmatch(name)
        patterns = [f"{stem}.json", f"*-{match['digest'] or match['earlier']}.json"] if match else []
        paths = (path for pattern in patterns for folder in _folders() for path in _newest_first(folder.glob(pattern)))
        path = next(paths, None)
        if path is None and match and match["earlier"]:
            path = _described_since(match["earlier"])
        if path is None:
            return path_to_write(name)
        _paths[key] = path
    return _paths[key]


def _described_since(earlier_digest: str) -> Path | None:
    """Return the description of the images of an earlier version's name, where today's `init` has written it."""
    for path in (path for folder in _folders() for path in _newest_first(folder.glob("*.json"))):
        description = read_json(path, Description)
        if description and _earlier_digest(description) == earlier_digest:
            return path
    return None


def path_to_write(name: str) -> Path:
    """Return the path of the description that `write` writes, with this label."""
    return data_folder() / "own" / f"{name.removeprefix(PREFIX)}.json"


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    # After a folder was renamed and described again, the older description leads nowhere.
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def sources_path(name: str) -> Path:
    """Return the folder of the sources of a data set's reader."""
    return description_path(name).with_suffix("")


def _folders() -> list[Path]:
    return [data_folder() / "own", *_further_folders]


def described_by(reader: Reader) -> list[str]:
    """Return the names of the data sets under CEBCTL_DATA that this function has read, one for the same images."""
    described: dict[str, str] = {}
    for name in sorted(names(), key=lambda name: in_spec(name) == name):  # those of earlier versions last
        try:
            if read(name).reader == reader:
                described.setdefault(_digest(read(name)), name)
        except InputError:
            continue  # whoever uses it meets the error
    return list(described.values())


def write(name: str, description: Description) -> Path:
    """Write a description for `read` and return its path. One of the same name differs in the place of the images at
    most."""
    path = path_to_write(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, msgspec.json.format(msgspec.json.encode(description)) + b"\n")
    _paths.clear()
    return path


def names(*, further: bool = False) -> list[str]:
    """Return the names of the data sets that are described under CEBCTL_DATA, and with `further` by `look_into`."""
    folders = _folders() if further else _folders()[:1]
    candidates = {f"{PREFIX}{path.stem}" for folder in folders for path in folder.glob("*.json")}
    return sorted(name for name in candidates if _NAME.fullmatch(name))


def read(name: str) -> Description:
    """Return the description of a data set. Raises InputError if it is missing or its digest is not the name's."""
    # The path is a key of the cache, because CEBCTL_DATA may change within a process.
    return _read(name, description_path(name))


@cache
def _read(name: str, path: Path) -> Description:
    advice = "`cebctl init` on the folder of images writes it again"
    try:
        description = msgspec.json.decode(read_regular(path), type=Description)
    except FileNotFoundError:
        raise InputError(f"data set {name}", f"{path} is missing", f"{advice}; is CEBCTL_DATA right?") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(path, str(error), advice) from None
    match = _NAME.fullmatch(name)
    if not match or (_digest(description), None) != match.groups() != (None, _earlier_digest(description)):
        raise InputError(path, f"describes other images than {name}", advice)
    return description
