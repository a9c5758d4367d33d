"""The user's hook: a command that is called when runs change their state.

    # CEBCTL_HOME/config.yaml; or the same command in CEBCTL_ON_STATE_CHANGE
    on_state_change: ./notify.sh

It gets one JSON document on stdin from each poll that finds changes:

    {"matrix": "…/digits.yaml", "home": "…", "changes": [{"run_id", "name", "stage", "before", "after", "error",
                                                         "host", "time"}]}

`status`, `status --watch` and `submit` poll; no process runs between them. Each change is reported once, however many
processes poll at a time: the reported states are kept in CEBCTL_HOME/told.json, written before the command is called.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cebctl.status.states import RunStatus
from experiments.atomic_files import write_atomic
from experiments.errors import InputError, MatrixError
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home

TIMEOUT_SECONDS = 30.0
"""The time that the command may take."""
VARIABLE = "CEBCTL_ON_STATE_CHANGE"
ROOT = 0
_KEY = "on_state_change"


def notify(matrix: Matrix, runs: Sequence[RunStatus], home: Home) -> list[str]:
    """Call the hook, if there is one, about the runs that changed since its last call, and return its errors.

    Raises InputError if the configuration can't be read, or belongs to another user.
    """
    command = _command(home)
    if not command or not home.folder.is_dir():
        return []
    try:
        changes = _changes(runs, home)
    except OSError as error:
        return [f"{_KEY}: {error}"]
    if not changes:
        return []
    document = msgspec.json.encode(
        {"matrix": str(matrix.path.absolute()), "home": str(home.folder), "changes": changes}
    )
    try:
        result = subprocess.run(command, input=document, cwd=home.folder, capture_output=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{_KEY}: {error}"]
    if not result.returncode:
        return []
    lines = result.stderr.decode(errors="replace").strip().splitlines() or [""]
    return [f"{_KEY}: {command[0]} ended with exit code {result.returncode}: {lines[-1]}".rstrip(": ")]


def _command(home: Home) -> list[str]:
    """Return the command. A relative path in it starts from the home's folder."""
    if text := os.environ.get(VARIABLE):
        return _split(text, VARIABLE)
    path = home.folder / "config.yaml"
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return []
    if owner not in (os.getuid(), ROOT):
        raise InputError(path, "belongs to another user, whose commands are not run", f"set {VARIABLE} for your own")
    return _split(_configured(path), str(path))


def _configured(path: Path) -> str:
    from experiments.matrix.yaml_nodes import compose, fault_at, plain

    root = compose(path)
    faults = [
        fault_at(key, f"unknown field {key.value!r}; allowed: {_KEY}")
        if key.value != _KEY
        else fault_at(value, f"{_KEY}: expected a command")
        for key, value in root.value
        if key.value != _KEY or not isinstance(plain(value), str)
    ]
    if faults:
        raise MatrixError(path, faults)
    return "".join(str(plain(value)) for _, value in root.value)


def _split(text: str, source: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(source, f"{text!r} is no command: {error}") from None


def _changes(runs: Sequence[RunStatus], home: Home) -> list[dict[str, Any]]:
    """Return the changes of state that are not reported yet, and record them as reported."""
    states = {run.planned.run_id: f"{run.current.stage} {run.state}" for run in runs}
    path = home.folder / "told.json"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reported = _read(path)
        before = {run_id: reported.get(run_id, "train new") for run_id in states}
        changed = [run for run in runs if before[run.planned.run_id] != states[run.planned.run_id]]
        if changed:
            write_atomic(path, msgspec.json.encode(reported | states))
    return [_change(run, before[run.planned.run_id]) for run in changed]


def _change(run: RunStatus, before: str) -> dict[str, Any]:
    current = run.current
    return {
        "run_id": run.planned.run_id,
        "name": run.planned.name,
        "stage": current.stage,
        "before": before.rpartition(" ")[2],
        "after": run.state,
        "error": (current.job.error if current.job else None) if run.state in ("failed", "lost") else None,
        "host": current.job.host if current.job else None,
        "time": time.time(),
    }


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
