"""The cluster's queue as it was last seen, kept between calls: a thousand jobs are one call to Slurm, and many looks
within a few seconds are one too.

The controller forgets finished jobs after some minutes; then the accounting is asked, where there is one. A job that
neither knows may be one that the controller has not yet told of, so that only the second miss counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import Struct

from experiments.atomic_files import write_atomic
from experiments.errors import UnreachableError
from jobs.paths import Home
from jobs.slurm import client
from jobs.slurm.client import TaskStatus

Key = tuple[str, int]
"""The unique name of an array and the index of an element."""

MAX_AGE_SECONDS = 10.0
"""How long an answer is good for; CEBCTL_SLURM_SECONDS sets another time, for sites that ask for fewer questions."""
MISSES = 2
BATCH_SECONDS = 60.0
"""Elements that somebody looked at so recently are asked for with the others: who looks in turns asks once."""
RETENTION_SECONDS = 7 * 86_400.0
"""How long an end that was seen is kept after the last look at it."""


class _Kept(Struct):
    """The file."""

    asked: float
    elements: list[TaskStatus]
    misses: dict[str, int] = {}
    wanted: dict[str, float] = {}
    """When each element was last looked at."""
    error: str = ""
    ids: dict[str, str] = {}
    """Slurm's ids of the arrays that are looked at, by name."""


@dataclass
class Queue:
    """What is known of the elements that were asked for."""

    elements: dict[Key, TaskStatus] = field(default_factory=dict)
    misses: dict[Key, int] = field(default_factory=dict)
    error: str = ""
    """Why this is not fresh, where the cluster did not answer."""
    asked: float = 0.0

    def is_forgotten(self, key: Key) -> bool:
        """Whether an element is known to nobody."""
        return self.misses.get(key, 0) >= MISSES


def query_queue(
    home: Home, wanted: Collection[Key], ids: Mapping[str, str] = MappingProxyType({}), *, remember: bool = True
) -> Queue:
    """Return the queue as of now or a few seconds ago; without `remember` nothing is written.

    By Slurm's `ids` of the arrays, given by name, elements are found that were renamed since.
    """
    before = _read(home.queue) or _Kept(0.0, [])
    recently = {text for text, when in before.wanted.items() if when > before.asked - BATCH_SECONDS}
    if _age(before) < _seconds() and recently >= {_text(key) for key in wanted}:
        return _queue(before, wanted)
    now = _ask(before, wanted, ids)
    if remember and home.folder.is_dir():
        write_atomic(home.queue, msgspec.json.encode(now))
    return _queue(now, wanted)


def _ask(before: _Kept, wanted: Collection[Key], ids: Mapping[str, str]) -> _Kept:
    now = time.time()
    looked_at = before.wanted | dict.fromkeys(map(_text, wanted), now)
    known = {_key(one): one for one in before.elements}
    keys = {_key_of(text) for text, when in looked_at.items() if when > now - BATCH_SECONDS}
    ended = {
        key: one
        for key, one in known.items()
        if one.is_final and looked_at.get(_text(key), 0) > now - RETENTION_SECONDS
    }
    kept = {text: when for text, when in looked_at.items() if _key_of(text) in keys | ended.keys()}
    names = {name for name, _ in keys}
    ids = {name: id for name, id in (before.ids | dict(ids)).items() if name in names}
    try:
        found = {_key(one): one for one in client.query_squeue(names) if _key(one) in keys}
        if renamed := {name: ids[name] for name, _ in keys - found.keys() - ended.keys() if name in ids}:
            found |= {_key(one): one for one in client.query_squeue_by_ids(renamed) if _key(one) in keys}
    except UnreachableError as error:
        last = {key: known[key] for key in keys & known.keys()} | ended
        return _Kept(now, list(last.values()), before.misses, kept, str(error), ids)
    misses = {_text(key): before.misses.get(_text(key), 0) for key in keys - found.keys() - ended.keys()}
    unknown = {_key_of(text) for text, count in misses.items() if count < MISSES}
    error_said = ""
    try:
        found |= _accounted(unknown)
    except UnreachableError as error:  # they are not known to be gone
        error_said = str(error)
        found |= {key: known[key] for key in unknown & known.keys()}
    else:
        misses = {text: count + 1 for text, count in misses.items() if _key_of(text) not in found}
    return _Kept(now, list((ended | found).values()), misses, kept, error_said, ids)


def _accounted(keys: Collection[Key]) -> dict[Key, TaskStatus]:
    """How elements that the controller does not know ended, by the accounting: one that it calls running has been
    forgotten by both."""
    rows = client.query_sacct({name for name, _ in keys}) if keys else ()
    last = {_key(one): one for one in rows or ()}
    return {key: one for key, one in last.items() if key in keys and one.is_final}


def _queue(kept: _Kept, wanted: Collection[Key]) -> Queue:
    elements = {_key(one): one for one in kept.elements}
    misses = {key: kept.misses.get(_text(key), 0) for key in wanted}
    return Queue(elements, misses, kept.error, kept.asked)


def _key(element: TaskStatus) -> Key:
    return element.name, element.index


def _key_of(text: str) -> Key:
    name, _, index = text.rpartition("_")
    return name, int(index)


def _text(key: Key) -> str:
    return f"{key[0]}_{key[1]}"


def _age(kept: _Kept) -> float:
    age = time.time() - kept.asked
    return age if age >= 0 else float("inf")


def _seconds() -> float:
    try:
        return float(os.environ.get("CEBCTL_SLURM_SECONDS") or MAX_AGE_SECONDS)
    except ValueError:
        return MAX_AGE_SECONDS


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None
