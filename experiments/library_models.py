"""The architectures of timm and torchvision by name, as their installed source registers them.

The sources are read and nothing is imported: importing timm takes ten seconds, and a matrix is checked in one.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import metadata
from pathlib import Path

from experiments.spec import LibraryNetwork, Timm

_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_CLOSE = 5
"""The number of names that an error suggests."""

EXTRAS = {"timm": 'pip install "cebctl[timm]"', "torchvision": "pip install torchvision"}
"""The command that installs a library."""

RESERVED = {
    "timm": (
        "cache_dir", "checkpoint_path", "exportable", "features_only", "in_chans", "model_name", "no_jit",
        "num_classes", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "scriptable",
    ),
    "torchvision": ("name", "num_classes", "pretrained", "progress", "weights", "weights_backbone"),
}  # fmt: skip
"""The arguments that follow from other fields of a run, or that would load weights."""


def library(network: LibraryNetwork) -> str:
    """Return the distribution that a network comes from."""
    return "timm" if isinstance(network, Timm) else "torchvision"


@cache
def model_names(distribution: str) -> frozenset[str]:
    """Return the architectures that an installed library has; none if it is not installed."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return frozenset()
    names: set[str] = set()
    for file in files:
        if file.parent.as_posix() == f"{distribution}/models" and file.suffix == ".py":
            names.update(_REGISTERED.findall(Path(str(file.locate())).read_text(encoding="utf-8")))
    return frozenset(names)


def unknown_model(network: LibraryNetwork) -> str:
    """Return what is wrong with the name of a network's model and which names are close; '' if the library has it, or
    is not installed."""
    distribution = library(network)
    names = model_names(distribution)
    architecture = network.model.partition(".")[0] if isinstance(network, Timm) else network.model
    if not names or architecture in names:
        return ""
    close = difflib.get_close_matches(architecture, sorted(names), n=_CLOSE)
    close = close or sorted(name for name in names if architecture and architecture.lower() in name)[:_CLOSE]
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"`{distribution}.list_models()` names them"
    listing = f"{distribution} {metadata.version(distribution)} has {len(names):,} models and none of that name"
    return f"model {network.model!r}: {listing}; {hint.replace('torchvision.list', 'torchvision.models.list')}"
