"""What a home stands on: its disk, the data sets, the packages, the GPUs. Changes nothing that lasts."""

from __future__ import annotations

import fcntl
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from cebctl.diagnostics.findings import Finding
from experiments import datasets
from jobs.datasets import download
from jobs.paths import Home
from store.locks import network_file_system

LITTLE_SPACE = 2 << 30
"""Bytes: the checkpoint of the widest network, written beside the one before."""

LOCKS = {
    "nfs": "locks need its lock service: no `nolock` among the mount options",
    "nfs4": "locks are part of the protocol",
    "lustre": "locks need the mount option `flock`; with `localflock` they hold on one node only",
    "gpfs": "locks hold across nodes",
}
"""What has to be so for file locks on a network file system to exclude other machines."""

PACKAGES = ("torch", "torchvision", "numpy", "sqlalchemy", "msgspec", "submitit")
_LOWER_BOUND = re.compile(r"([\w.-]+)\s*\(?(?:>=|==)\s*([\d.]+)[^;]*$")


def home(home: Home) -> list[Finding]:
    """Whether the home can be written, how much room it has, and whose file system it is on."""
    folder = next(path for path in (home.folder, *home.folder.parents) if path.exists())
    found = [_writable(home.folder, folder), _room(folder)]
    kind = network_file_system(home.folder)
    if kind is None:
        found.append(Finding("home", "ok", "on a local file system: SQLite with a write-ahead log is safe"))
    else:
        found.append(Finding("home", "note", f"on {kind}, a network file system: {what_is_safe(kind)}"))
    return found


def what_is_safe(kind: str) -> str:
    """What works on a network file system of this kind, and on what condition."""
    locks = LOCKS.get(kind, "see that file locks hold across nodes, nobody has tried it here")
    return (
        "journals and checkpoints are safe on it (one writer each, renamed when complete) and jobs open no database; "
        f"SQLite takes a rollback journal there; {locks}. "
        "Where several machines run cebctl, a PostgreSQL server in CEBCTL_STORE is safer"
    )


def _writable(wanted: Path, folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding(
            "home",
            "wrong",
            f"{folder} can't be written and locked: {error.strerror}",
            f"make {folder} writable (with file locks), or set CEBCTL_HOME to another folder",
        )
    if wanted != folder:
        return Finding("home", "ok", f"{wanted} does not exist yet: the first `cebctl submit` creates it")
    return Finding("home", "ok", f"{folder} can be written and locked")


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_SPACE:
        return Finding("home", "wrong", text, f"make room on the disk of {folder}; `cebctl gc` removes checkpoints")
    return Finding("home", "ok", text)


def data(root: Path, used: Collection[str], needed: Collection[str] = ()) -> list[Finding]:
    """Which data sets are at hand; `used` are those that runs of the store are trained on, `needed` those that runs
    are about to be."""
    found: list[Finding] = []
    for name in (every := sorted({*datasets.names(), *used, *needed}, key=_published_first)):
        there = download.dataset_status(name, root)
        text = f"{name}: {there.state}, {there.detail}"
        if there.state == "damaged":
            found.append(Finding("data", "wrong", text, f"put data set {name} right: {there.detail}"))
        elif there.state == "missing" and name in needed:
            found.append(Finding("data", "wrong", text, f"bring data set {name} here: {there.detail}"))
        elif there.state == "ready" or name in used:
            found.append(Finding("data", "ok" if there.state == "ready" else "note", text))
    absent = len(every) - len(found)
    if absent:
        found.append(Finding("data", "ok", f"{absent} more are not at hand and not used: `cebctl data list`"))
    return found


def _published_first(name: str) -> tuple[int, str]:
    """Sorts the published data sets in their order, then the user's own by name."""
    order = list(datasets.DATASETS)
    return (order.index(name), "") if name in order else (len(order), name)


def software() -> list[Finding]:
    """Python's and the packages' versions, from their metadata: nothing is imported."""
    python = ".".join(map(str, sys.version_info[:3]))
    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    found = [Finding("software", "ok", ", ".join([f"Python {python}", *versions]))]
    wanted = {text: None for name in ("cebctl", "torchvision") for text in _unmet(name)}
    if wanted:
        names = ", ".join(wanted)
        found.append(Finding("software", "wrong", f"not met: {names}", f"install {names}: `make setup` does"))
    return found


def _unmet(name: str) -> list[str]:
    """The unconditional requirements of a package with a lower bound that is not met, as in `torch>=2.11`."""
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    bounds = [match.groups() for text in requirements if (match := _LOWER_BOUND.match(text))]
    return [f"{needed}>={least}" for needed, least in bounds if _numbers(_version(needed) or "0") < _numbers(least)]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def gpus() -> list[Finding]:
    """The NVIDIA GPUs of this machine, as nvidia-smi names them, and whether torch was built for them."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return [Finding("gpu", "ok", "no NVIDIA driver on this machine: local jobs run on the CPU")]
    except (OSError, subprocess.TimeoutExpired):
        return [Finding("gpu", "wrong", "nvidia-smi does not answer", "have the NVIDIA driver looked after")]
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        why = (done.stderr or done.stdout).strip().partition("\n")[0] or f"exit code {done.returncode}"
        return [Finding("gpu", "wrong", f"nvidia-smi finds no GPU: {why}", "have the NVIDIA driver looked after")]
    found = [Finding("gpu", "ok", line) for line in lines]
    if (_version("torch") or "").endswith("+cpu"):
        found.append(Finding("gpu", "wrong", "torch is built for the CPU only", "install torch for CUDA"))
    return found
