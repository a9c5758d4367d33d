"""Checks of the disk of a home, the data sets, the packages and the GPUs. They leave nothing changed."""

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
from cebctl.submission import needed_data
from experiments import datasets, own_dataset
from experiments.matrix.planned_run import Matrix
from jobs import file_ownership
from jobs.datasets.dataset_status import dataset_status
from jobs.paths import Home
from store.locks import network_file_system

MIN_FREE_BYTES = 2 << 30
"""Room for the checkpoint of the widest network, which is written beside the one before."""

LOCK_CONDITIONS = {
    "nfs": "locks need its lock service: no `nolock` among the mount options",
    "nfs4": "locks are part of the protocol",
    "lustre": "locks need the mount option `flock`; with `localflock` they hold on one node only",
    "gpfs": "locks hold across nodes",
}
"""The condition under which file locks on each network file system exclude other machines."""

PACKAGES = ("torch", "torchvision", "numpy", "sqlalchemy", "msgspec", "submitit")
_LOWER_BOUND = re.compile(r"([\w.-]+)\s*\(?(?:>=|==)\s*([\d.]+)[^;]*$")


def check_home(home: Home) -> list[Finding]:
    """Check that the home can be written, by nobody else, that it has room, and that its file system is safe."""
    existing = next(path for path in (home.folder, *home.folder.parents) if path.exists())
    file_system = Finding("home", "ok", "on a local file system: SQLite with a write-ahead log is safe")
    if kind := network_file_system(home.folder):
        file_system = Finding("home", "note", f"on {kind}, a network file system: {filesystem_advice(kind)}")
    writers = _check_writers(home.folder) if home.folder == existing else []
    return [_check_writable(home.folder, existing), *writers, _check_free_space(existing), file_system]


def filesystem_advice(kind: str) -> str:
    """Return what is safe on a network file system of this kind, and on which condition."""
    locks = LOCK_CONDITIONS.get(kind, "see that file locks hold across nodes, nobody has tried it here")
    return (
        "journals and checkpoints are safe on it (one writer each, renamed when complete) and jobs open no database; "
        f"SQLite takes a rollback journal there; {locks}. "
        "Where several machines run cebctl, a PostgreSQL server in CEBCTL_STORE is safer"
    )


def _check_writable(home: Path, folder: Path) -> Finding:
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
    if home != folder:
        return Finding("home", "ok", f"{home} does not exist yet: the first `cebctl submit` creates it")
    return Finding("home", "ok", f"{folder} can be written and locked")


def _check_writers(home: Path) -> list[Finding]:
    """Check that nobody else can write the home or what lies in it: jobs run its code."""
    try:
        errors = file_ownership.untrusted_entries(home)
    except OSError as error:
        return [Finding("home", "wrong", f"{home}: {error.strerror}", f"make {home} readable")]
    return [Finding("home", "wrong", f"{error.path}: {error.wrong}", error.remedy) for error in errors]


def _check_free_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return Finding("home", "wrong", text, f"make room on the disk of {folder}; `cebctl gc` removes checkpoints")
    return Finding("home", "ok", text)


def check_datasets(root: Path, used: Collection[str], needed: Collection[str] = ()) -> list[Finding]:
    """Check the data sets under a folder: those that runs of the store `used`, and those that new runs `needed`."""
    findings: list[Finding] = []
    used, needed = ({own_dataset.labelled(name) for name in names} for names in (used, needed))
    # The published data sets in their own order, then the user's by name.
    names = [*datasets.DATASETS, *sorted({*datasets.names(), *used, *needed} - datasets.DATASETS.keys())]
    for name in names:
        dataset = dataset_status(name, root)
        text = f"{name}: {dataset.state}, {dataset.detail}"
        if dataset.state == "damaged":
            findings.append(Finding("data", "wrong", text, f"put data set {name} right: {dataset.detail}"))
        elif dataset.state == "missing" and name in needed:
            findings.append(Finding("data", "wrong", text, f"bring data set {name} here: {dataset.detail}"))
        elif dataset.state == "ready" or name in used:
            findings.append(Finding("data", "ok" if dataset.state == "ready" else "note", text))
    if absent := len(names) - len(findings):
        findings.append(Finding("data", "ok", f"{absent} more are not at hand and not used: `cebctl data list`"))
    return findings


def check_benchmark_data(matrix: Matrix, root: Path) -> list[Finding]:
    """Check the further images that the benchmarks of a matrix read, and the number of its training images."""
    findings: list[Finding] = []
    for name in dict.fromkeys(run.run.data.name for run in matrix.runs):
        counted = dataset_status(name, root, verify=False, count=True)
        if counted.state == "damaged":
            text = f"{name}: {counted.detail}"
            findings.append(Finding("data", "wrong", text, f"put data set {name} right: {counted.detail}"))
    for needed in needed_data.benchmark_data(matrix, root):
        status = needed.status
        text = f"{status.name} for {needed.purpose}: {status.state}, {status.detail}"
        if status.state == "ready":
            findings.append(Finding("data", "ok", text))
            continue
        todo = f"bring {status.name} here: {status.detail}; or `cebctl submit {matrix.path} --without missing`"
        findings.append(Finding("data", "wrong", text, todo))
    return findings


def check_packages() -> list[Finding]:
    """Check the versions of Python and the packages by their metadata, which imports nothing."""
    python = ".".join(map(str, sys.version_info[:3]))
    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    findings = [Finding("software", "ok", ", ".join([f"Python {python}", *versions]))]
    unmet = dict.fromkeys(bound for name in ("cebctl", "torchvision") for bound in _unmet_requirements(name))
    if unmet:
        names = ", ".join(unmet)
        findings.append(Finding("software", "wrong", f"not met: {names}", f"install {names}: `make setup` does"))
    return findings


def _unmet_requirements(name: str) -> list[str]:
    """Return the requirements of a package whose lower bound is not met, as in `torch>=2.11`; no conditional ones."""
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    bounds = [match.groups() for text in requirements if (match := _LOWER_BOUND.match(text))]
    return [
        f"{package}>={minimum}" for package, minimum in bounds if _release(_version(package) or "0") < _release(minimum)
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _release(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def check_gpus() -> list[Finding]:
    """Check the NVIDIA GPUs of this machine, as nvidia-smi names them, and that torch was built for them."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    fix = "have the NVIDIA driver looked after"
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return [Finding("gpu", "ok", "no NVIDIA driver on this machine: local jobs run on the CPU")]
    except (OSError, subprocess.TimeoutExpired):
        return [Finding("gpu", "wrong", "nvidia-smi does not answer", fix)]
    lines = result.stdout.strip().splitlines()
    if result.returncode or not lines:
        message = (result.stderr or result.stdout).strip().partition("\n")[0] or f"exit code {result.returncode}"
        return [Finding("gpu", "wrong", f"nvidia-smi finds no GPU: {message}", fix)]
    findings = [Finding("gpu", "ok", line) for line in lines]
    if (_version("torch") or "").endswith("+cpu"):
        findings.append(Finding("gpu", "wrong", "torch is built for the CPU only", "install torch for CUDA"))
    return findings
