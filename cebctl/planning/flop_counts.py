"""What networks cost per image: by the table, else counted by the engine in a process of its own, once on a machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from experiments import costs, numerics
from experiments.atomic_files import write_atomic
from experiments.costs import NetworkCount
from experiments.errors import CebctlError
from experiments.spec import Run


def cached_flop_counts(runs: Iterable[Run]) -> dict[Any, NetworkCount]:
    """The counts of the runs' networks by `costs.count_key`.

    Raises CebctlError if the engine can't build one.
    """
    wanted = {costs.count_key(run): run for run in runs}
    found = {key: count for key, count in costs.network_counts().items() if key in wanted}
    files = _files(wanted.keys() - found.keys())
    found |= {key: count for key, file in files.items() if (count := _read(file))}
    missing = [run for key, run in wanted.items() if key not in found]
    for run, count in zip(missing, _count(missing) if missing else [], strict=True):
        found[costs.count_key(run)] = count
        _keep(files[costs.count_key(run)], count)
    return found


def _count(runs: Sequence[Run]) -> list[NetworkCount]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobs.engine.flops"], input=msgspec.json.encode(runs), capture_output=True
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise CebctlError(f"counting operations: {lines[-1] if lines else done.returncode}")
    return msgspec.json.decode(done.stdout, type=list[NetworkCount])


def _files(keys: Collection[Any]) -> dict[Any, Path]:
    """Return where counts are remembered: not in a home, which `plan` leaves as it is. A network whose version was
    raised may count otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("CEBCTL_CACHE") or Path(cache, "cebctl"))
    named = {key: msgspec.json.encode([*key, numerics.count_versions(key[0])]) for key in keys}
    return {key: folder / f"{hashlib.sha256(name).hexdigest()[:32]}.json" for key, name in named.items()}


def _read(file: Path) -> NetworkCount | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=NetworkCount)
    except (OSError, msgspec.DecodeError):
        return None


def _keep(file: Path, count: NetworkCount) -> None:
    with contextlib.suppress(OSError):  # then it is counted again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, msgspec.json.encode(count))
