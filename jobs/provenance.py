"""Where a number comes from: the code frozen at submission, and the machine and libraries of the job.

Functions are pickled by reference, so a job would run whatever the checkout holds when it starts. `freeze`
copies the code a job imports under CEBCTL_HOME, named by its content; jobs import from there, and
`verify` stops one whose code is not what was submitted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from experiments import lineage
from experiments.atomic_files import is_abandoned, replacing, sweep, write_atomic
from experiments.errors import InputError
from experiments.spec import Run
from jobs import checkpoint_files, file_ownership
from jobs.errors import CodeChangedError
from jobs.journal import history
from jobs.paths import Home, RunPaths

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the checkout, or inside a job the snapshot."""

_JOB_PACKAGES = ("experiments", "jobs")
_ENGINE = (
    "experiments/benchmarks.py",
    "experiments/datasets.py",
    "experiments/spec.py",
    "experiments/lineage.py",
    "jobs/engine",
)
_LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "scipy",
    "scikit-learn",
    "submitit",
    "msgspec",
    "pyautoattack",
    "nvidia-dali-cuda130",
)


Sources = dict[Path, bytes]
"""The content of code by its path below a root."""


@dataclass(frozen=True)
class Snapshot:
    """A frozen copy of the code that jobs import."""

    digest: str
    folder: Path
    commit: str | None


def freeze(home: Home) -> Snapshot:
    """Copy the code under CEBCTL_HOME unless this content is there already; concurrent calls are safe.

    Raises InputError if what is there is somebody else's or not this content: jobs would run it.
    """
    sources = _sources(ROOT, _JOB_PACKAGES)
    digest = _digest(sources)
    folder = home.code / digest
    commit = _commit()
    home.code.mkdir(parents=True, exist_ok=True)
    _sweep(home.code)
    if not folder.exists():
        diff = _git("diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--", *_JOB_PACKAGES)
        origin = {"commit": commit, "digest": digest, "diff": diff if commit else None}
        try:
            with replacing(folder) as beside:
                for path, content in sources.items():
                    (beside / path).parent.mkdir(parents=True, exist_ok=True)
                    (beside / path).write_bytes(content)
                (beside / "origin.json").write_bytes(msgspec.json.format(msgspec.json.encode(origin)))
        except OSError:
            if not folder.exists():  # else another submission was quicker with the same content
                raise
    _check(folder, sources)
    return Snapshot(digest, folder, commit)


def _sweep(folder: Path) -> None:
    """Remove the beginnings of snapshots that were never finished, those of earlier versions as well."""
    sweep(folder)
    for path in folder.glob(".*"):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _check(folder: Path, sources: Sources) -> None:
    """Raise InputError unless a snapshot is this user's, and holds these sources and no others."""
    for path in (folder.parent, folder, *folder.rglob("*")):
        file_ownership.check_owner(path, path.lstat().st_uid)
    if _sources(folder, _JOB_PACKAGES) != sources:
        raise InputError(folder, "holds other code than its name says", "remove it: `cebctl submit` makes it again")


def verify(submitted: str) -> None:
    """Raise CodeChangedError unless this process runs the code that was submitted."""
    running = code_digest()
    if running != submitted:
        raise CodeChangedError(ROOT, submitted, running)


def code_digest() -> str:
    """Digest of the code this process imports: what a job may run, engine or not."""
    return _digest(_sources(ROOT, _JOB_PACKAGES))


def engine_digest() -> str:
    """Return the digest of the part of the code that may change a number: evidence, where `experiments.numerics` is the
    verdict."""
    return _digest(_sources(ROOT, _ENGINE))


def environment() -> dict[str, Any]:
    """Machine and libraries, for `provenance.json`."""
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
    """What the weights of a run come from if not from its seed, for `provenance.json`: the imported file, or the run
    that it extends and that run's checkpoint, whose name has its digest. Once it trains, as it was when it began."""
    if (before := read(paths)) and any(checkpoint_files.newest_first(paths.checkpoints)):
        return {"origin": before["origin"]} if "origin" in before else {}
    if extended := lineage.parent_id(run):
        last = next(checkpoint_files.newest_first(history.newest_complete(paths.beside(extended)).checkpoints), None)
        return {"origin": {"run": extended, "checkpoint": last.path.name if last else None}}
    return {"origin": {"weights": run.weights}} if run.weights else {}


def write(paths: RunPaths, found: dict[str, Any]) -> None:
    """Write `provenance.json`, whole or not at all."""
    write_atomic(paths.provenance, msgspec.json.format(msgspec.json.encode({"run_id": paths.run_id} | found)))


def read(paths: RunPaths) -> dict[str, Any]:
    """Return what `provenance.json` says; nothing where there is none, or it is damaged or another run's."""
    try:
        found = msgspec.json.decode(paths.provenance.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) and found.get("run_id", paths.run_id) == paths.run_id else {}


def library_versions() -> dict[str, str]:
    """Versions of the packages that may change a number, as far as they are installed."""
    installed = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def _digest(sources: Sources) -> str:
    whole = hashlib.sha256(b"cebctl code 1")
    for path, content in sources.items():
        whole.update(f"\0{path.as_posix()}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def _sources(root: Path, parts: tuple[str, ...]) -> Sources:
    """Return the Python files below these folders or files, sorted within each."""
    sources: Sources = {}
    for part in parts:
        paths = [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py"))
        for path in (path.relative_to(root) for path in paths if path.is_file()):
            if _is_code(path):
                sources[path] = (root / path).read_bytes()
    return sources


def _is_code(path: Path) -> bool:
    """Whether an import statement can name it: a notebook's checkpoint, an editor's lock, a swap file are hidden or
    have names that it can't."""
    return all(name.isidentifier() and name != "__pycache__" for name in path.with_suffix("").parts)


def _commit() -> str | None:
    """Return the commit that this code stands in; None where there is none, or where a repository around it (of the
    folder it was unpacked in) does not hold it."""
    holds_it = _git("cat-file", "-e", "HEAD:./jobs/provenance.py") is not None
    return _git("rev-parse", "--verify", "HEAD") if holds_it else None


def _git(*arguments: str) -> str | None:
    """Return what git prints of the repository that ROOT lies in, whatever bytes that are; None if it fails.

    Every hook of git sets GIT_DIR, which would be asked in its place.
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
