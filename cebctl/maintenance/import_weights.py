"""The import of weights that were trained elsewhere into the home, where jobs on every machine can read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from experiments.atomic_files import replacing
from experiments.errors import InputError
from jobs import file_ownership
from jobs.paths import Home


@dataclass(frozen=True)
class ImportedWeights:
    """A file of weights in the home."""

    digest: str
    """As a matrix writes it: `sha256:…`."""
    path: Path
    size: int
    """In bytes."""
    tensors: int
    parameters: int
    """The elements of all tensors."""


def import_file(file: Path, home: Home, key: str = "") -> ImportedWeights:
    """Copy a file of `torch.save` into the home under its digest; with a `key`, only the weights under that key.

    Raises InputError if it can't be read, or holds anything but usable weights. Whether these fit a network is checked
    by `submit`.
    """
    from jobs.engine import weights_file  # torch takes seconds to import

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
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return ImportedWeights(digest, path, len(data), len(tensors), sum(tensor.numel() for tensor in tensors.values()))
