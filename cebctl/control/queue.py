"""The cluster's queue as it was last seen, kept between calls: a thousand jobs are one call to Slurm, and many looks
within a few seconds are one too.

The controller forgets finished jobs after some minutes; then the accounting is asked, where there is one. A job that
neither knows may be one that the controller has not yet told of, so that only the second miss counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

from experiments.errors import UnreachableError
from jobs import slurm
from jobs.home import Home, put
from jobs.slurm import Element

Key = tuple[str, int]
"""The unique name of an array and the index of an element."""

SECONDS = 10.0
"""How long an answer is good for; CEBCTL_SLURM_SECONDS sets another time, for sites that ask for fewer questions."""
MISSES = 2


class _Kept(Struct):
    """The file."""

    asked: float
    elements: list[Element]
    misses: dict[str, int] = {}
    wanted: list[Key] = []
    error: str = ""


@dataclass
class Queue:
    """What is known of the elements that were asked for."""

    elements: dict[Key, Element] = field(default_factory=dict)
    misses: dict[Key, int] = field(default_factory=dict)
    error: str = ""
    """Why this is not fresh, where the cluster did not answer."""
    asked: float = 0.0

    def forgot(self, key: Key) -> bool:
        """Whether an element is known to nobody."""
        return self.misses.get(key, 0) >= MISSES


def look(home: Home, wanted: Collection[Key], *, remember: bool = True) -> Queue:
    """The queue as of now or a few seconds ago; without `remember` nothing is written."""
    before = _read(home.queue)
    if before and _age(before) < _seconds() and set(before.wanted) >= set(wanted):
        return _queue(before)
    now = _ask(before, wanted)
    if remember and home.folder.is_dir():
        put(home.queue, msgspec.json.encode(now))
    return _queue(now)


def _ask(before: _Kept | None, wanted: Collection[Key]) -> _Kept:
    known = {(one.name, one.index): one for one in before.elements} if before else {}
    keys = sorted(set(wanted))
    misses = dict(before.misses) if before else {}
    try:
        found = {(one.name, one.index): one for one in slurm.queue({name for name, _ in keys})}
        absent = {key for key in keys if key not in found}
        ended = {key for key in absent if key in known and known[key].final}
        unknown = {key for key in absent - ended if misses.get(_text(key), 0) < MISSES}
        if unknown:
            for one in slurm.accounted({name for name, _ in unknown}) or ():
                if (one.name, one.index) in absent:
                    found[one.name, one.index] = one  # of several rows the last
        found |= {key: known[key] for key in ended if key not in found}
    except UnreachableError as error:
        kept = [known[key] for key in keys if key in known]
        return _Kept(time.time(), kept, misses, keys, str(error))
    for key in keys:
        misses[_text(key)] = 0 if key in found else misses.get(_text(key), 0) + 1
    return _Kept(time.time(), list(found.values()), {text: n for text, n in misses.items() if n}, keys)


def _queue(kept: _Kept) -> Queue:
    elements = {(one.name, one.index): one for one in kept.elements}
    misses = {key: kept.misses.get(_text(key), 0) for key in kept.wanted}
    return Queue(elements, misses, kept.error, kept.asked)


def _text(key: Key) -> str:
    return f"{key[0]}_{key[1]}"


def _age(kept: _Kept) -> float:
    age = time.time() - kept.asked
    return age if age >= 0 else float("inf")


def _seconds() -> float:
    try:
        return float(os.environ.get("CEBCTL_SLURM_SECONDS") or SECONDS)
    except ValueError:
        return SECONDS


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None
