"""The speeds of training in rehearsals, by which `plan` estimates what no full run has measured yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from experiments.atomic_files import read_json, write_atomic
from experiments.spec import Run
from jobs.paths import Home


class RehearsedSpeed(Struct, frozen=True):
    """The speed of one training, of its fastest epoch."""

    run: Run
    """As it was rehearsed."""
    gpu: str | None
    """As its provenance names it; None for a CPU."""
    images_per_second: float
    """Over all devices of its job."""


def write_speeds(speeds: Iterable[RehearsedSpeed], rehearsal: Home) -> None:
    """Write the speeds of a rehearsal into its home."""
    write_atomic(rehearsal.speeds, msgspec.json.encode(list(speeds)))


def read_speeds(home: Home) -> Iterator[RehearsedSpeed]:
    """Yield the speeds of the newest rehearsal that ended of each matrix."""
    newest = {path.parent.parent: path for path in sorted(home.rehearsals.glob("*/*/speeds.json"))}
    for path in newest.values():
        yield from read_json(path, list[RehearsedSpeed]) or ()
