"""Try the parts of one's own that a matrix names, before any job does, and count its networks of one's own.

That runs their code, in a process of its own. What has been tried is not tried again: the cache of counts remembers
it, by the part's digest and fields.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import msgspec

from cebctl.planning import flop_counts
from experiments import costs, datasets
from experiments.atomic_files import read_json, write_atomic
from experiments.costs import NetworkCount
from experiments.errors import CebctlError, InputError
from experiments.matrix.planned_run import Matrix
from experiments.spec import Part
from jobs import engine_process, own_parts
from jobs.part_trials import ANSWERS, REQUEST, Answer, Request, Trial, trials

SECONDS = 120
"""The time that one trial may take: the largest published network is counted in seconds."""
_GRACE = 180
"""Seconds more for the import of torch, and for a part that does not heed the end of its time."""


class PartTrialError(InputError):
    """Parts of one's own don't work: a line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        CebctlError.__init__(self, "\n".join(dict.fromkeys(faults)))


def try_own_parts(matrix: Matrix) -> None:
    """Try every part of one's own in a matrix that has not been tried, and count its networks of one's own.

    Raises PartTrialError for those that can't be imported, raise an error, or return something else than expected.
    """
    files = {
        flop_counts.count_file(costs.count_key(planned.run)): Trial("network", planned.run)
        for planned in matrix.runs
        if isinstance(planned.run.network, Part)
    }
    runs = [(planned.run, planned.benchmarks) for planned in matrix.runs]
    for trial in trials(runs):
        info = datasets.info(trial.run.data.name)
        files[flop_counts.cache_file(["trial", trial, info.channels, info.size, info.classes])] = trial
    missing = {file: trial for file, trial in files.items() if not _is_done(file, trial)}
    if not missing:
        return
    untried = list(missing.values())
    with tempfile.TemporaryDirectory(prefix="cebctl-") as folder:
        own_parts.write_sources(own_parts.snapshot_sources(matrix.parts), Path(folder))
        answers = _run(untried, Path(folder))
    for file, answer in zip(missing, answers, strict=False):
        if not answer.fault:
            flop_counts.write_cached(file, answer.count or True)
    if faults := [answer.fault for answer in answers if answer.fault]:
        raise PartTrialError(faults)


def _is_done(file: Path, trial: Trial) -> bool:
    return read_json(file, NetworkCount) is not None if trial.role == "network" else file.exists()


def _run(untried: list[Trial], folder: Path) -> list[Answer]:
    """Return the answers of a process that makes these trials; fewer if a part ended it, whose answer is the last."""
    write_atomic(folder / REQUEST, msgspec.json.encode(Request(untried, SECONDS)))
    errors = folder / "errors"
    with errors.open("wb") as output:
        process = subprocess.Popen(
            engine_process.command("part_trial", str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            env=engine_process.environment(),
            start_new_session=True,
        )
        try:
            in_time = _wait(process, folder / ANSWERS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what a part has forked ends too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not (folder / ANSWERS).exists():
        reason = engine_process.last_line(errors.read_bytes()) or f"ended with {process.returncode}"
        raise CebctlError(f"trying parts of one's own: {reason}")
    answers = [msgspec.json.decode(line, type=Answer) for line in (folder / ANSWERS).read_bytes().splitlines()]
    if len(answers) < len(untried):
        part = untried[len(answers)].part
        ended = f"ended its process with {process.returncode} when it was tried" if in_time else "was not done in time"
        answers.append(Answer(fault=f"{part.origin}: {ended}"))
    return answers


def _wait(process: subprocess.Popen[bytes], answers: Path) -> bool:
    """Wait for the end of a process, and return whether it came before the time of a trial was over."""
    size, deadline = -1, 0.0
    while process.poll() is None:
        present = answers.stat().st_size if answers.exists() else 0
        if present != size:
            size, deadline = present, monotonic() + SECONDS + _GRACE
        if monotonic() > deadline:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
    return True
