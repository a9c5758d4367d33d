"""The import of weights that were trained elsewhere into the home, where jobs on every machine can read them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from experiments.atomic_files import replacing
from experiments.errors import InputError
from experiments.regular_files import read_regular
from experiments.spec import Network
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
    fits: tuple[str, ...] = ()
    """The networks that they fit, as a matrix writes them, each with the classes of its classifier."""


def import_file(file: Path, home: Home, key: str = "", network: Network | None = None) -> ImportedWeights:
    """Copy a safetensors file or one of `torch.save` into the home under its digest; with a `key`, only the weights
    under that key.

    Raises InputError if it can't be read, holds anything but usable weights, or these do not fit the `network`.
    """
    from jobs.engine import known_families, weights_file  # torch takes seconds to import

    try:
        data = read_regular(file)
    except OSError as error:
        raise InputError(file, error.strerror or str(error)) from None
    tensors = weights_file.read(data, file, key)
    fits = [known_families.fit(tensors, network, file)] if network else known_families.candidates(tensors, file)
    texts = tuple(_describe(fit.network, fit.classes) for fit in fits)
    if key:
        data = weights_file.encode(tensors)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = home.weights(digest)
    file_ownership.restrict_umask(home.folder)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return ImportedWeights(
        digest, path, len(data), len(tensors), sum(tensor.numel() for tensor in tensors.values()), texts
    )


def _describe(network: Network, classes: int | None) -> str:
    """Return a network as a matrix writes it, and the number of classes that the file tells apart."""
    infos = structs.fields(network)
    changed = [f"{info.name}: {value}" for info in infos if (value := getattr(network, info.name)) != info.default]
    text = ", ".join([f"name: {type(network).__struct_config__.tag}", *changed])
    return f"{{{text}}}" + (f" with {classes:,} classes" if classes else "")
