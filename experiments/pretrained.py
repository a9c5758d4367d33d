"""Published weights of timm and torchvision, from the caches that their hubs fill: `pretrained: true` in a network.

A matrix resolves them to a SHA-256 before anything runs, as `weights` of the run: a run with the field is the same
run as one that names the digest. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cache
from importlib import metadata
from pathlib import Path

from msgspec import UNSET, structs

from experiments import library_models, user_paths
from experiments.spec import LibraryNetwork, Run, Sha256, Timm

_FILES = ("model.safetensors", "pytorch_model.bin")
_DIGEST = re.compile("[0-9a-f]{64}")


def resolved(run: Run) -> Run:
    """Return the run with the digest of its pretrained weights in the place of `pretrained: true`.

    Raises LookupError, one line, if the hub's cache does not have them, or if the run names other weights.
    """
    network = run.network
    if not isinstance(network, LibraryNetwork) or not network.pretrained or library_models.unknown_model(network):
        return run
    if run.weights:
        raise LookupError("pretrained: the run has `weights` too; leave one of the two out")
    return structs.replace(
        run, network=structs.replace(network, pretrained=UNSET), weights=digest(cached_file(network))
    )


def cached_file(network: LibraryNetwork) -> Path:
    """Return the file of a network's published weights in its hub's cache. Raises LookupError if it is not there."""
    return _timm_file(network.model) if isinstance(network, Timm) else _torchvision_file(network.model)


def file_of(run: Run) -> Path | None:
    """Return the file in its hub's cache that a run's weights are of, None if there is none with their digest."""
    if not isinstance(run.network, LibraryNetwork):
        return None
    try:
        file = cached_file(run.network)
        return file if digest(file) == run.weights else None
    except (LookupError, OSError):
        return None


def digest(file: Path) -> Sha256:
    """Return the SHA-256 of a file; of one in the Hugging Face cache by its name there, which `import` verifies."""
    target = file.resolve()
    if target.parent.name == "blobs" and _DIGEST.fullmatch(target.name):
        return f"sha256:{target.name}"
    status = target.stat()
    return _digest(target, status.st_size, status.st_mtime_ns)


@cache
def _digest(file: Path, size: int, changed: int) -> Sha256:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def _timm_file(model: str) -> Path:
    hub = _hub_folder()
    folder = hub / f"models--timm--{model}"
    if "." not in model:
        tags = sorted(path.name.removeprefix("models--timm--") for path in hub.glob(f"models--timm--{model}.*"))
        there = f"the cache has {', '.join(tags)}" if tags else f"as in {model}.a1_in1k"
        raise LookupError(f"pretrained: {model} has no tag, which says whose weights; {there}")
    reference = folder / "refs" / "main"
    revisions = [reference.read_text().strip()] if reference.is_file() else []
    revisions += sorted(path.name for path in folder.glob("snapshots/*"))
    for revision in revisions:
        for name in _FILES:
            if (file := folder / "snapshots" / revision / name).exists():
                return file
    raise LookupError(
        f"pretrained: no weights of timm/{model} in {hub} (HF_HOME); `hf download timm/{model}` puts them there, or "
        "`cebctl import FILE` takes a file, for `weights`"
    )


def _hub_folder() -> Path:
    if os.environ.get("HF_HUB_CACHE"):
        return user_paths.from_variable("HF_HUB_CACHE", "")
    return user_paths.in_cache("HF_HOME", "huggingface") / "hub"


def _torchvision_file(model: str) -> Path:
    url = torchvision_url(model)
    folder = user_paths.in_cache("TORCH_HOME", "torch") / "hub" / "checkpoints"
    if not url:
        raise LookupError(f"pretrained: the installed torchvision names no weights of {model}")
    file = folder / url.rpartition("/")[2]
    if not file.exists():
        raise LookupError(
            f"pretrained: no {file.name} of torchvision's {model} in {folder} (TORCH_HOME); put {url} there, or "
            "`cebctl import FILE` takes a file, for `weights`"
        )
    return file


@cache
def torchvision_url(model: str) -> str:
    """Return the address of a model's default weights, as torchvision's source has it; '' if it names none."""
    try:
        files = metadata.files("torchvision") or []
    except metadata.PackageNotFoundError:
        return ""
    for file in files:
        if file.parent.as_posix() != "torchvision/models" or file.suffix != ".py":
            continue
        text = Path(str(file.locate())).read_text(encoding="utf-8")
        function = re.search(rf"^def {re.escape(model)}\(\s*\*,\s*weights: Optional\[(\w+)\]", text, re.MULTILINE)
        if function is None:
            continue
        block = text.partition(f"class {function[1]}(WeightsEnum):")[2].partition("\n\n\n")[0]
        default = re.search(r"^    DEFAULT = (\w+)$", block, re.MULTILINE)
        if default is None:
            continue
        weights = block.partition(f"    {default[1]} = Weights(")[2]
        address = re.search(r'url=("[^"]+")', weights)
        return str(json.loads(address[1])) if address else ""
    return ""
