"""Run a module of the engine in a process of its own, because torch takes seconds and memory to import."""

from __future__ import annotations

import os
import subprocess
import sys

from experiments.errors import CebctlError, InputError
from jobs.provenance import ROOT


def call_engine(subject: str, module: str, *arguments: str, request: bytes, seconds: float | None = None) -> bytes:
    """Return what a module of the engine writes on its standard output for a request on its standard input.

    Raises `subject: reason` with the last line of its standard error: InputError if it ends with the exit code of one,
    else CebctlError.
    """
    try:
        process = subprocess.run(
            command(module, *arguments), input=request, capture_output=True, env=environment(), timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise CebctlError(f"{subject}: not done after {seconds} s") from None
    if process.returncode:
        reason = last_line(process.stderr) or f"ended with {process.returncode}"
        if process.returncode == InputError.exit_code:
            raise InputError(subject, reason)
        raise CebctlError(f"{subject}: {reason}")
    return process.stdout


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of `jobs.engine`."""
    return [sys.executable, "-P", "-m", f"jobs.engine.{module}", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of such a process."""
    # First, because the user's own PYTHONPATH may hold a package of this name too.
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": path}


def last_line(errors: bytes) -> str:
    """Return the last line of a process's standard error; '' if it wrote none."""
    return next(iter(errors.decode(errors="replace").strip().splitlines()[::-1]), "")
