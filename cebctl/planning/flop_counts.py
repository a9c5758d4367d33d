"""The operations of networks per image: from the table, else counted once on a machine, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from experiments import costs, library_models, numerics, user_paths
from experiments.atomic_files import read_json, write_atomic
from experiments.costs import NetworkCount
from experiments.spec import LibraryNetwork, Network, Part, Run
from jobs.engine_process import call_engine

COUNT_SECONDS = 600
"""The time that counting may take: the largest published network takes seconds."""


def cached_flop_counts(runs: Iterable[Run]) -> dict[Any, NetworkCount]:
    """Return the counts of the runs' networks by `costs.count_key`, of networks of one's own those that
    `part_trials.try_own_parts` has made: to count one is to run its code.

    Raises CebctlError if the engine can't build one.
    """
    by_key = {costs.count_key(run): run for run in runs}
    counts = {key: count for key, count in costs.network_counts().items() if key in by_key}
    files = {key: count_file(key) for key in by_key.keys() - counts.keys()}
    counts |= {key: count for key, file in files.items() if (count := read_json(file, NetworkCount))}
    missing = [run for key, run in by_key.items() if key not in counts and not isinstance(run.network, Part)]
    for run, count in zip(missing, _count(missing) if missing else [], strict=True):
        counts[costs.count_key(run)] = count
        write_cached(files[costs.count_key(run)], count)
    return counts


def _count(runs: Sequence[Run]) -> list[NetworkCount]:
    answer = call_engine("counting operations", "flops", request=msgspec.json.encode(runs), seconds=COUNT_SECONDS)
    return msgspec.json.decode(answer, type=list[NetworkCount])


def library_version(network: Network) -> list[str]:
    """Return the version of the library that a network's code is of; nothing for ours."""
    if not isinstance(network, LibraryNetwork):
        return []
    with contextlib.suppress(metadata.PackageNotFoundError):
        return [metadata.version(library_models.library(network))]
    return []


def count_file(key: Any) -> Path:
    """Return the cache file of a count. Its name depends on the versions of the network, as another version may have
    another count."""
    return cache_file([*key, numerics.count_versions(key[0]), *library_version(key[0])])


def cache_file(key: object) -> Path:
    """Return the file of what is remembered under a key, outside of any home, which `plan` leaves as it is."""
    digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return user_paths.in_cache("CEBCTL_CACHE", "cebctl") / f"{digest[:32]}.json"


def write_cached(file: Path, value: object) -> None:
    """Write what is remembered to its cache file, if that can be written."""
    with contextlib.suppress(OSError):  # then it is found out again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, msgspec.json.encode(value))
