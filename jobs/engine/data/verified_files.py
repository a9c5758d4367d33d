"""Reading the published files of a data set: none is used before its digest was found right."""

from __future__ import annotations

import hashlib
from pathlib import Path

from experiments.datasets import DataFile, DatasetInfo
from experiments.errors import InputError


def read_verified(root: Path, file: DataFile, info: DatasetInfo) -> bytes:
    """The bytes of one published file; InputError if it is missing, unreadable or not what was published."""
    path = root / file.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise missing(info, path, error) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != file.md5:
        wrong = f"{len(content):,} bytes with MD5 {found}, but {file.md5} was published: truncated or changed"
        raise InputError(path, wrong, f"remove it and get it again with {info.obtain}")
    return content


def missing(info: DatasetInfo, path: Path, error: OSError) -> InputError:
    """The error for a file or folder that can't be read: names it, and how to get it."""
    wrong = f"{error.strerror or error} (data set {info.name})"
    return InputError(path, wrong, f"get it with {info.obtain}, or point CEBCTL_DATA at the folder that holds it")
