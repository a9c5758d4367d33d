"""The origin of a number: the code frozen at submission, and the machine and libraries of the job.

A job in the queue would run whatever the checkout holds when it starts. `freeze` copies the code that jobs import to
CEBCTL_HOME, into a folder named by its content. Jobs import from that snapshot, and `verify` stops a job whose code
differs from its submission's.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from experiments import lineage
from experiments.atomic_files import is_abandoned, read_json, replacing, sweep, write_atomic
from experiments.errors import InputError
from experiments.own_parts.read import OwnPart
from experiments.spec import Run
from jobs import checkpoint_files, file_ownership, own_parts, snapshot_check
from jobs.errors import CodeChangedError
from jobs.journal import history
from jobs.paths import Home, RunPaths

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the checkout, or inside a job the snapshot."""

_ENGINE = (
    "experiments/benchmarks.py",
    "experiments/datasets.py",
    "experiments/jump_start_checks.py",
    "experiments/lineage.py",
    "experiments/own_dataset.py",
    "experiments/spec.py",
    "jobs/datasets/image_file.py",
    "jobs/datasets/image_folder.py",
    "jobs/engine",
)
"""The files and folders that make numbers. Their digest is evidence beside a result, and the key under which partial
evaluations are kept: after a change an evaluation begins anew."""
_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "scipy",
    "scikit-learn",
    "submitit",
    "msgspec",
    "nvidia-dali-cuda130",
)


Sources = dict[Path, bytes]
"""The content of source files by their path below a root."""


@dataclass(frozen=True)
class Snapshot:
    """A frozen copy of the code that jobs import."""

    digest: str
    folder: Path
    commit: str | None


def freeze(home: Home, parts: Iterable[OwnPart] = ()) -> Snapshot:
    """Copy the code, and the sources of a matrix's own parts, to CEBCTL_HOME unless a snapshot of this content exists;
    concurrent calls are safe.

    Raises InputError if somebody else may have written the existing snapshot, or it has other content: jobs would run
    it.
    """
    sources = _sources(ROOT, snapshot_check.PACKAGES)
    sources |= sorted((Path(path), content) for path, content in own_parts.snapshot_sources(parts).items())
    digest = snapshot_check.digest(sources)
    folder = home.code / digest
    commit = _commit()
    home.code.mkdir(parents=True, exist_ok=True)
    sweep(home.code)
    for path in home.code.glob(".*"):  # unfinished snapshots of earlier versions of cebctl, which `sweep` does not know
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
    if not folder.exists():
        diff = _git("diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--", *snapshot_check.PACKAGES)
        origin = {"commit": commit, "digest": digest, "diff": diff if commit else None}
        try:
            with replacing(folder) as beside:
                own_parts.write_sources(sources, beside)
                (beside / snapshot_check.ORIGIN).write_bytes(msgspec.json.format(msgspec.json.encode(origin)))
        except OSError:
            if not folder.exists():  # else another submission has just written the same content
                raise
    file_ownership.check_snapshot(folder, home.folder)
    return Snapshot(digest, folder, commit)


def verify(submitted: str) -> None:
    """Raise CodeChangedError unless this process runs the code that was submitted."""
    running = code_digest()
    if running != submitted:
        raise CodeChangedError(ROOT, submitted, running)


def code_digest() -> str:
    """Return the digest of all code that a job may import, engine or not."""
    return snapshot_check.digest(snapshot_check.read_snapshot(ROOT))


def engine_digest() -> str:
    """Return the digest of the code that may change a number.

    It is evidence only: `experiments.numerics` decides whether two results are comparable.
    """
    return snapshot_check.digest(_sources(ROOT, _ENGINE))


def environment() -> dict[str, Any]:
    """Return code, machine and libraries, for `provenance.json`."""
    return {
        "code": code_digest(),
        "engine": engine_digest(),
        "python": platform.python_version(),
        "libraries": library_versions(),
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def origin(run: Run, paths: RunPaths) -> dict[str, Any]:
    """Return the origin of a run's first weights if it is not the seed, for `provenance.json`.

    It is an imported file, or a checkpoint of the run that it extends, whose name has its digest. A training that
    resumes keeps the origin that its first attempt recorded: the parent may have newer checkpoints since.
    """
    if (recorded := read(paths)) and any(checkpoint_files.newest_first(paths.checkpoints)):
        return {"origin": recorded["origin"]} if "origin" in recorded else {}
    if parent := lineage.parent_id(run):
        last = next(checkpoint_files.newest_first(history.newest_complete(paths.beside(parent)).checkpoints), None)
        return {"origin": {"run": parent, "checkpoint": last.path.name if last else None}}
    return {"origin": {"weights": run.weights}} if run.weights else {}


def write(paths: RunPaths, content: dict[str, Any]) -> None:
    """Write `provenance.json`, whole or not at all."""
    write_atomic(paths.provenance, msgspec.json.format(msgspec.json.encode({"run_id": paths.run_id} | content)))


def read(paths: RunPaths) -> dict[str, Any]:
    """Return the content of `provenance.json`; empty where it is missing, damaged or another run's."""
    content = read_json(paths.provenance, dict[str, Any]) or {}
    return content if content.get("run_id", paths.run_id) == paths.run_id else {}


def library_versions() -> dict[str, str]:
    """Return the versions of the installed packages that may change a number."""
    installed = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def _sources(root: Path, parts: tuple[str, ...]) -> Sources:
    """Return the Python files below these folders or files, sorted within each.

    Raises InputError for a part that does not exist: without it a digest would not notice a moved file.
    """
    for part in parts:
        if not (root / part).exists():
            raise InputError(root / part, "is a part of the code and is missing", "install cebctl again")
    return {path: (root / path).read_bytes() for part in parts for path in snapshot_check.source_paths(root, part)}


def _commit() -> str | None:
    """Return the commit of this code; None without a repository, or in one that does not contain this code.

    The code may have been unpacked inside the folder of another project, whose commit would mislead.
    """
    is_tracked = _git("cat-file", "-e", "HEAD:./jobs/provenance.py") is not None
    return _git("rev-parse", "--verify", "HEAD") if is_tracked else None


def _git(*arguments: str) -> str | None:
    """Return the output of git in the repository of ROOT, whatever its bytes; None if it fails.

    Git's variables are removed: its hooks set GIT_DIR, which would name another repository.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "backslashreplace").removesuffix("\n") if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
