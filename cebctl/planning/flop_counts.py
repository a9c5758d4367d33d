"""The operations of networks per image: from the table, else counted once on a machine, in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from experiments import costs, library_models, numerics
from experiments.atomic_files import write_atomic
from experiments.costs import NetworkCount
from experiments.errors import CebctlError, InputError
from experiments.matrix.planned_run import Matrix
from experiments.spec import LibraryNetwork, Network, Part, Run
from jobs import own_parts
from jobs.provenance import ROOT

COUNT_SECONDS = 600
"""The time that counting may take: the largest published network takes seconds."""


def cached_flop_counts(runs: Iterable[Run]) -> dict[Any, NetworkCount]:
    """Return the counts of the runs' networks by `costs.count_key`, of networks of one's own those that
    `count_own_networks` has made: to count one is to run its code.

    Raises CebctlError if the engine can't build one.
    """
    by_key = {costs.count_key(run): run for run in runs}
    counts = {key: count for key, count in costs.network_counts().items() if key in by_key}
    files = _files(by_key.keys() - counts.keys())
    counts |= {key: count for key, file in files.items() if (count := _read(file))}
    missing = [run for key, run in by_key.items() if key not in counts and not isinstance(run.network, Part)]
    for run, count in zip(missing, _count(missing) if missing else [], strict=True):
        counts[costs.count_key(run)] = count
        _write(files[costs.count_key(run)], count)
    return counts


def count_own_networks(matrix: Matrix) -> None:
    """Count the operations of the networks of one's own in a matrix, which runs their code in a process of its own.

    Raises CebctlError if one can't be built, or does not take the images.
    """
    own = {
        costs.count_key(planned.run): planned.run for planned in matrix.runs if isinstance(planned.run.network, Part)
    }
    files = _files(own)
    missing = [run for key, run in own.items() if _read(files[key]) is None]
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="cebctl-") as folder:
        for path, content in own_parts.snapshot_sources(matrix.parts).items():
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).write_bytes(content)
        for run, count in zip(missing, _count(missing, "--parts", folder), strict=True):
            _write(files[costs.count_key(run)], count)


def _count(runs: Sequence[Run], *options: str) -> list[NetworkCount]:
    # The engine imports torch, which takes seconds and memory that `plan` does not need otherwise.
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "jobs.engine.flops", *options],
            input=msgspec.json.encode(runs),
            capture_output=True,
            env=engine_environment(),
            timeout=COUNT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        names = ", ".join(sorted({str(getattr(run.network, "origin", "a network")) for run in runs}))
        raise CebctlError(f"counting operations: {names}: not done after {COUNT_SECONDS} s") from None
    if process.returncode:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        message = lines[-1] if lines else f"ended with {process.returncode}"
        message = message.removeprefix("jobs.own_parts.PartError: ")
        if process.returncode == InputError.exit_code:
            raise InputError("counting operations", message)
        raise CebctlError(f"counting operations: {message}")
    return msgspec.json.decode(process.stdout, type=list[NetworkCount])


def engine_environment() -> dict[str, str]:
    """Return the environment of a process that imports the engine."""
    # First, because the user's own PYTHONPATH may hold a package of this name too.
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": path}


def cache_folder() -> Path:
    """Return the folder of what one machine finds out once, outside of any home, which `plan` leaves as it is."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CEBCTL_CACHE") or Path(cache, "cebctl"))


def library_version(network: Network) -> list[str]:
    """Return the version of the library that a network's code is of; nothing for ours."""
    if not isinstance(network, LibraryNetwork):
        return []
    with contextlib.suppress(metadata.PackageNotFoundError):
        return [metadata.version(library_models.library(network))]
    return []


def _files(keys: Collection[Any]) -> dict[Any, Path]:
    """Return the cache files of counts, outside of any home, which `plan` leaves as it is. Their names depend on the
    versions of the networks, as another version may have another count."""
    folder = cache_folder()
    contents = {
        key: msgspec.json.encode([*key, numerics.count_versions(key[0]), *library_version(key[0])]) for key in keys
    }
    return {key: folder / f"{hashlib.sha256(name).hexdigest()[:32]}.json" for key, name in contents.items()}


def _read(file: Path) -> NetworkCount | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=NetworkCount)
    except (OSError, msgspec.DecodeError):
        return None


def _write(file: Path, count: NetworkCount) -> None:
    with contextlib.suppress(OSError):  # then it is counted again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, msgspec.json.encode(count))
