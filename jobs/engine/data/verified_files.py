"""The published files of a data set: none is used before its digest is verified."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from experiments.datasets import DataFile, DatasetInfo
from experiments.errors import InputError
from experiments.regular_files import read_regular


def read_verified(root: Path, file: DataFile, info: DatasetInfo) -> bytes:
    """Return the bytes of one published file. Raises InputError if it is missing, unreadable or not the published
    one."""
    path = root / file.path
    try:
        content = read_regular(path)
    except OSError as error:
        raise missing_error(info, path, error) from None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != file.md5:
        wrong = f"{len(content):,} bytes with MD5 {digest}, but {file.md5} was published: truncated or changed"
        raise InputError(path, wrong, f"remove it and get it again with {info.obtain}")
    return content


def packaged_by_sklearn(file: str) -> Path:
    """Return a file in scikit-learn's folder of data sets; importing scikit-learn would take seconds."""
    package = find_spec("sklearn")
    folder = Path(package.origin).parent if package and package.origin else Path("sklearn")
    return folder / "datasets" / file


def missing_error(info: DatasetInfo, path: Path, error: OSError) -> InputError:
    """Return the error for a file or folder that can't be read, with the way to get it."""
    wrong = f"{error.strerror or error} (data set {info.name})"
    return InputError(path, wrong, f"get it with {info.obtain}, or point CEBCTL_DATA at the folder that holds it")
