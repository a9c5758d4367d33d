"""The user's hook: a command that is called when runs change their state.

    # CEBCTL_HOME/config.yaml; or the same command in CEBCTL_ON_STATE_CHANGE
    on_state_change: ./notify.sh

It gets one JSON document on stdin from each poll that finds changes:

    {"matrix": "…/digits.yaml", "home": "…", "changes": [{"run_id", "name", "stage", "before", "after", "error",
                                                         "host", "time"}]}

`status`, `status --watch` and `submit` poll; no process runs between them. Each change is reported once, however many
processes poll at a time: the reported states are kept in CEBCTL_HOME/told.json, written before the command is called.

A command of the configuration may have come with the folder. It is called once the user has allowed it on a terminal,
and again only until it or a file of the home that it names changes: the digest of both is remembered outside of the
home. Nobody else may be able to write any of these files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cebctl.status.states import RunStatus
from experiments.atomic_files import read_json, write_atomic
from experiments.errors import InputError, MatrixError
from experiments.matrix.planned_run import Matrix
from jobs import file_ownership
from jobs.paths import Home

TIMEOUT_SECONDS = 30.0
"""The time that the command may take."""
VARIABLE = "CEBCTL_ON_STATE_CHANGE"
_KEY = "on_state_change"


@dataclass(frozen=True)
class Hook:
    """A command that is called when runs change their state."""

    command: tuple[str, ...]
    source: Path | None
    """The configuration that names it; None: the user's environment."""
    files: tuple[Path, ...]
    """The files of the home that it names."""
    digest: str
    """Of the command and of these files."""

    def describe(self) -> str:
        """Return the command with its origin, and whether the user has yet to allow it."""
        allowed = "" if is_allowed(self) else ", not allowed yet"
        return f"{shlex.join(self.command)} ({self.source or VARIABLE}{allowed})"


def is_allowed(hook: Hook) -> bool:
    """Return whether the user has allowed this command, or has set it in their environment."""
    if hook.source is None:
        return True
    try:
        answer = _answer(hook)
        file_ownership.check_private(answer, answer.parent)
        return answer.read_text() == _YES
    except (OSError, InputError):
        return False


def unanswered_hook(home: Home) -> Hook | None:
    """Return the hook of a home if the user was never asked whether it may be called.

    Raises InputError as `configured_hook` does.
    """
    hook = configured_hook(home)
    return hook if hook and hook.source and not _answer(hook).exists() else None


def remember_answer(hook: Hook, *, allowed: bool) -> None:
    """Remember the user's answer, so that they are asked once."""
    path = _answer(hook)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, (_YES if allowed else _NO).encode())
    path.chmod(0o600)


_YES, _NO = "yes\n", "no\n"


def _answer(hook: Hook) -> Path:
    """Return the file of the user's answer: outside of the home, which it may have come with."""
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    except RuntimeError:
        raise InputError("HOME", "is not set: nowhere to remember which hook is allowed", "set it") from None
    return Path(folder, "cebctl", "hooks", hook.digest)


def notify(matrix: Matrix, runs: Sequence[RunStatus], home: Home) -> list[str]:
    """Call the hook, if there is one, about the runs that changed since its last call, and return its errors.

    Raises InputError as `configured_hook` does.
    """
    hook = configured_hook(home)
    if not hook or not home.folder.is_dir():
        return []
    if not is_allowed(hook):
        answer = _answer(hook)
        ask = f"you refused it, remove {answer} to be asked again" if answer.exists() else "you have not allowed it yet"
        remedy = f"`cebctl status` on a terminal asks, {VARIABLE} needs no question"
        return [f"{_KEY} of {hook.source} is not run: {ask}; {remedy}"]
    command = hook.command
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


def configured_hook(home: Home) -> Hook | None:
    """Return the hook, None if there is none. A relative path in its command starts from the home's folder.

    Raises InputError if the configuration can't be read, or if somebody else could have written it or a file of the
    home that the command names.
    """
    source = None
    text = os.environ.get(VARIABLE)
    if not text:
        source = home.folder / "config.yaml"
        if not source.exists():
            return None
        file_ownership.check_private(source, home.folder)
        text = _configured(source)
    command = _split(text, str(source or VARIABLE))
    if not command:
        return None
    files = tuple(path for word in command if _is_file(path := home.folder / word, home.folder))
    try:
        for path in files:
            file_ownership.check_private(path, home.folder)
        content = [path.read_bytes() for path in files]
    except OSError as error:
        raise InputError(error.filename, error.strerror or str(error), "your hook names it") from None
    digest = hashlib.sha256(msgspec.msgpack.encode(["cebctl hook 1", command, content])).hexdigest()
    return Hook(tuple(command), source, files, digest)


def _is_file(path: Path, home: Path) -> bool:
    """Return whether a word of a command is a file of the home."""
    try:
        return path.is_relative_to(home) and path.is_file()
    except OSError:  # too long to be a name
        return False


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
        reported = read_json(path, dict[str, str]) or {}
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
