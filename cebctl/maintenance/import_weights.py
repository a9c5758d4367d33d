"""Weights that were trained elsewhere, taken into the home, from where jobs read them wherever they run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from experiments.atomic_files import replacing
from experiments.errors import InputError
from jobs import file_ownership
from jobs.paths import Home


@dataclass(frozen=True)
class Imported:
    """A file that lies in the home."""

    digest: str
    """As a matrix writes it: `sha256:…`."""
    path: Path
    size: int
    """In bytes."""
    tensors: int
    parameters: int
    """Elements of all of them."""


def take(file: Path, home: Home, key: str = "") -> Imported:
    """Copy a file of `torch.save` into the home under its digest; with a `key`, what it holds there alone.

    Raises InputError if it can't be read, or holds anything but weights that can be used; whether these fit a network
    `needs.check` finds.
    """
    from jobs.engine import weights_file

    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(file, error.strerror or str(error)) from None
    tensors = weights_file.read(data, file, key)
    if key:
        data = weights_file.encode(tensors)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = home.weights(digest)
    file_ownership.restrict_umask(home.folder)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as beside:
        beside.write_bytes(data)
    return Imported(digest, path, len(data), len(tensors), sum(tensor.numel() for tensor in tensors.values()))
