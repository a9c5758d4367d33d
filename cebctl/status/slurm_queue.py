"""The cluster's queue, cached in a file between calls.

A thousand jobs are one call to Slurm, and so are many queries within a few seconds. The controller forgets finished
jobs after some minutes; then the accounting is asked, where there is one. A job that neither knows may be so new that
the controller does not show it yet, so that only the second miss counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
from msgspec import Struct

from experiments.atomic_files import read_json, write_atomic
from experiments.errors import UnreachableError
from jobs.paths import Home
from jobs.slurm import client
from jobs.slurm.client import TaskStatus

Key = tuple[str, int]
"""The unique name of an array and the index of a task."""

MAX_AGE_SECONDS = 10.0
"""The age at which a cached answer expires. CEBCTL_SLURM_SECONDS replaces it, at sites that want fewer queries."""
MAX_MISSES = 2
BATCH_SECONDS = 60.0
"""Tasks that were requested so recently are queried with the others, so that alternating callers share one call."""
RETENTION_SECONDS = 7 * 86_400.0
"""The time that the state of a finished task is kept after the last request for it."""


class _Cache(Struct, rename={"queried": "asked", "tasks": "elements", "requested": "wanted"}):
    """The cache file. It keeps the field names of earlier versions."""

    queried: float
    tasks: list[TaskStatus]
    misses: dict[str, int] = {}
    requested: dict[str, float] = {}
    """When each task was last requested."""
    error: str = ""
    ids: dict[str, str] = {}
    """Slurm's ids of the arrays, by name."""


@dataclass
class Queue:
    """The state of the requested tasks."""

    tasks: dict[Key, TaskStatus] = field(default_factory=dict)
    misses: dict[Key, int] = field(default_factory=dict)
    error: str = ""
    """Why this is not up to date, where the cluster did not answer."""

    def is_forgotten(self, key: Key) -> bool:
        """Whether neither the controller nor the accounting knows a task."""
        return self.misses.get(key, 0) >= MAX_MISSES


def query_queue(
    home: Home, keys: Collection[Key], ids: Mapping[str, str] = MappingProxyType({}), *, remember: bool = True
) -> Queue:
    """Return the queue as of now or a few seconds ago; without `remember` nothing is written.

    By Slurm's `ids` of the arrays, given by name, tasks are found that somebody has renamed.
    """
    cache = read_json(home.queue, _Cache) or _Cache(0.0, [])
    recent = {text for text, requested in cache.requested.items() if requested > cache.queried - BATCH_SECONDS}
    # An age below zero comes from a clock that was set back.
    if not (0 <= time.time() - cache.queried < _max_age() and recent >= {_text(key) for key in keys}):
        cache = _refresh(cache, keys, ids)
        if remember and home.folder.is_dir():
            write_atomic(home.queue, msgspec.json.encode(cache))
    misses = {key: cache.misses.get(_text(key), 0) for key in keys}
    return Queue({_key(task): task for task in cache.tasks}, misses, cache.error)


def _refresh(cache: _Cache, requested_keys: Collection[Key], ids: Mapping[str, str]) -> _Cache:
    """Query the controller, then the accounting, for the tasks that were requested recently."""
    now = time.time()
    requested = cache.requested | dict.fromkeys(map(_text, requested_keys), now)
    cached = {_key(task): task for task in cache.tasks}
    keys = {_parse(text) for text, when in requested.items() if when > now - BATCH_SECONDS}
    ended = {
        key: task
        for key, task in cached.items()
        if task.is_final and requested.get(_text(key), 0) > now - RETENTION_SECONDS
    }
    requested = {text: when for text, when in requested.items() if _parse(text) in keys | ended.keys()}
    names = {name for name, _ in keys}
    ids = {name: id for name, id in (cache.ids | dict(ids)).items() if name in names}
    try:
        tasks = {_key(task): task for task in client.query_squeue(names) if _key(task) in keys}
        if renamed := {name: ids[name] for name, _ in keys - tasks.keys() - ended.keys() if name in ids}:
            tasks |= {_key(task): task for task in client.query_squeue_by_ids(renamed) if _key(task) in keys}
    except UnreachableError as error:
        last = {key: cached[key] for key in keys & cached.keys()} | ended
        return _Cache(now, list(last.values()), cache.misses, requested, str(error), ids)
    misses = {_text(key): cache.misses.get(_text(key), 0) for key in keys - tasks.keys() - ended.keys()}
    unknown = {_parse(text) for text, count in misses.items() if count < MAX_MISSES}
    message = ""
    try:
        tasks |= _query_accounting(unknown)
    except UnreachableError as error:  # the misses don't count, because the accounting may know these tasks
        message = str(error)
        tasks |= {key: cached[key] for key in unknown & cached.keys()}
    else:
        misses = {text: count + 1 for text, count in misses.items() if _parse(text) not in tasks}
    return _Cache(now, list((ended | tasks).values()), misses, requested, message, ids)


def _query_accounting(keys: Collection[Key]) -> dict[Key, TaskStatus]:
    """Return the ends of tasks that the controller does not know.

    A task that the accounting calls running has been forgotten by the controller and will never get an end.
    """
    rows = client.query_sacct({name for name, _ in keys}) if keys else ()
    last = {_key(task): task for task in rows or ()}
    return {key: task for key, task in last.items() if key in keys and task.is_final}


def _key(task: TaskStatus) -> Key:
    return task.name, task.index


def _parse(text: str) -> Key:
    name, _, index = text.rpartition("_")
    return name, int(index)


def _text(key: Key) -> str:
    return f"{key[0]}_{key[1]}"


def _max_age() -> float:
    try:
        return float(os.environ.get("CEBCTL_SLURM_SECONDS") or MAX_AGE_SECONDS)
    except ValueError:
        return MAX_AGE_SECONDS
