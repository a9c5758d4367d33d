"""Images that a function of one's own reads, described in a process of its own: `cebctl init --data parts.py:scans`."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from cebctl.onboarding.scan_images import FolderScan
from experiments import own_dataset
from experiments.atomic_files import replacing
from experiments.errors import InputError
from experiments.own_dataset import Description
from experiments.own_parts.read import OwnPart, ReferenceFault, read_part
from jobs import own_parts
from jobs.engine_process import call_engine

READ_SECONDS = 3600
"""The time that reading both splits may take."""


def read(reference: str, root: Path) -> tuple[FolderScan, OwnPart]:
    """Run a reader of images and describe what it returns, for the data folder `root`.

    Raises InputError if it can't be read or its parameters have no defaults, CebctlError for what it returns.
    """
    try:
        part = read_part(reference, "data", Path())
    except ReferenceFault as fault:
        raise InputError(f"--data {reference}", str(fault)) from None
    if required := [info.name for info in msgspec.structs.fields(part.fields) if info.required]:
        raise InputError(f"--data {reference}", f"its parameter {required[0]!r} has no default", "give it one")
    with tempfile.TemporaryDirectory(prefix="cebctl-") as folder:
        own_parts.write_sources(own_parts.snapshot_sources([part]), Path(folder))
        spec = msgspec.json.encode(part.spec({}))
        reader = "data.datasets.own_reader"
        answer = call_engine("--data", reader, folder, str(root), request=spec, seconds=READ_SECONDS)
    description = msgspec.json.decode(answer, type=Description)
    slug = re.sub(r"[^a-z0-9_-]+", "-", part.label.rpartition(":")[2].lower())[:40]
    sizes = Counter({(description.size, description.size): description.train + description.test})
    return FolderScan(slug, description, sizes, ()), part


def keep_sources(name: str, part: OwnPart) -> None:
    """Write a reader's sources beside the description of its images, where jobs find them."""
    folder = own_dataset.path_to_write(name).with_suffix("")
    target = folder / own_parts.FOLDER / own_parts.key(part.label, part.digest)
    if target.exists() or not part.sources:  # named by its content; an installed package has none
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as beside:
        own_parts.write_sources(part.sources, beside)
