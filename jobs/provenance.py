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
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from experiments import start
from experiments.spec import Run
from jobs import checkpoints
from jobs.errors import CodeChangedError
from jobs.home import Home, RunPaths

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the checkout, or inside a job the snapshot."""

_JOB_PACKAGES = ("experiments", "jobs")
_ENGINE = (
    "experiments/benchmarks.py",
    "experiments/datasets.py",
    "experiments/spec.py",
    "experiments/start.py",
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


@dataclass(frozen=True)
class Snapshot:
    """A frozen copy of the code that jobs import."""

    digest: str
    folder: Path
    commit: str | None


def freeze(home: Home) -> Snapshot:
    """Copy the code under CEBCTL_HOME unless this content is there already; concurrent calls are safe."""
    digest = code_digest()
    folder = home.code / digest
    commit = _git("rev-parse", "HEAD")
    if not folder.exists():
        home.code.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", dir=home.code))
        for path in _sources(_JOB_PACKAGES):
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, beside / path)
        origin = {"commit": commit, "digest": digest, "diff": _git("diff", "HEAD", "--", *_JOB_PACKAGES)}
        (beside / "origin.json").write_bytes(msgspec.json.format(msgspec.json.encode(origin)))
        beside.chmod(home.code.stat().st_mode)
        try:
            beside.rename(folder)
        except OSError:  # another submission was quicker with the same content
            shutil.rmtree(beside)
    return Snapshot(digest, folder, commit)


def verify(submitted: str) -> None:
    """Raise CodeChangedError unless this process runs the code that was submitted."""
    found = code_digest()
    if found != submitted:
        raise CodeChangedError(ROOT, submitted, found)


def code_digest() -> str:
    """Digest of the code this process imports: what a job may run, engine or not."""
    return _digest(_JOB_PACKAGES)


def engine_digest() -> str:
    """Return the digest of the part of the code that may change a number: evidence, where `experiments.numerics` is the
    verdict."""
    return _digest(_ENGINE)


def environment() -> dict[str, Any]:
    """Machine and libraries, for `provenance.json`."""
    return {
        "code": code_digest(),
        "engine": engine_digest(),
        "python": platform.python_version(),
        "libraries": libraries(),
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def origin(run: Run, paths: RunPaths) -> dict[str, Any]:
    """What the weights of a run come from if not from its seed, for `provenance.json`: the imported file, or the run
    that it extends and that run's checkpoint, whose name has its digest. Once it trains, as it was when it began."""
    if paths.provenance.exists() and any(checkpoints.newest_first(paths.checkpoints)):
        before: dict[str, Any] = msgspec.json.decode(paths.provenance.read_bytes())
        return {"origin": before["origin"]} if "origin" in before else {}
    if extended := start.parent_id(run):
        last = next(checkpoints.newest_first(paths.beside(extended).checkpoints), None)
        return {"origin": {"run": extended, "checkpoint": last.path.name if last else None}}
    return {"origin": {"weights": run.weights}} if run.weights else {}


def libraries() -> dict[str, str]:
    """Versions of the packages that may change a number, as far as they are installed."""
    installed = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def _digest(parts: tuple[str, ...]) -> str:
    whole = hashlib.sha256(b"cebctl code 1")
    for path in _sources(parts):
        content = (ROOT / path).read_bytes()
        whole.update(f"\0{path.as_posix()}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def _sources(parts: tuple[str, ...]) -> Iterator[Path]:
    """The Python files below these folders or files, relative to ROOT, sorted."""
    for part in parts:
        found = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
        yield from (path.relative_to(ROOT) for path in found)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
