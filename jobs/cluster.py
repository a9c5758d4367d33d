"""Handing jobs to an executor: the only file that knows submitit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from experiments.errors import UnreachableError
from jobs.home import Home, data_folder
from jobs.journal import Launched
from jobs.processes import Process
from jobs.provenance import Snapshot

_INHERITED_PREFIXES = ("PYTHON", "SLURM_", "SUBMITIT_", "CEBCTL_", "VIRTUAL_ENV")
_NO_TIMEOUT_MINUTES = 60 * 24 * 365


def launch_local(home: Home, snapshot: Snapshot, submission: str, workers: int) -> list[Launched]:
    """Start local workers that outlive this process and its terminal, each on its share of the GPUs if there are any.

    A process of its own, in a session of its own, makes the submitit call: submitit keeps its children in
    the caller's process group, where a Ctrl-C meant for `submit --wait` would stop them.
    Raises UnreachableError if they can't be started.
    """
    command = [sys.executable, "-m", "jobs.cluster", str(home.folder), submission, str(workers)]
    # Files, not pipes: the workers inherit these streams, and a pipe would stay open as long as they live.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = subprocess.run(
            command,
            env=job_environment(home, snapshot),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            cwd=home.folder,
        ).returncode
        out.seek(0)
        err.seek(0)
        if code:
            lines = err.read().decode(errors="replace").strip().splitlines()
            raise UnreachableError("the local executor", lines[-1] if lines else f"exit code {code}")
        return msgspec.json.decode(out.read(), type=list[Launched])


def job_environment(home: Home, snapshot: Snapshot) -> dict[str, str]:
    """A clean environment: the caller's without what would leak into a job, and the code from the snapshot alone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_INHERITED_PREFIXES)}
    return kept | {
        "PYTHONPATH": str(snapshot.folder),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "CEBCTL_HOME": str(home.folder),
        "CEBCTL_DATA": str(data_folder()),
    }


def _start_workers(home: Home, submission: str, workers: int) -> list[Launched]:
    from submitit import LocalExecutor

    from jobs import worker

    executor = LocalExecutor(folder=home.workers(submission))
    gpus = _gpus()
    launched = []
    for index in range(workers):
        mine = gpus[index::workers] or gpus[index % len(gpus) :][:1] if gpus else []
        executor.update_parameters(
            timeout_min=_NO_TIMEOUT_MINUTES, gpus_per_node=len(mine), visible_gpus=mine, stderr_to_stdout=True
        )
        job = executor.submit(worker.work, str(home.folder), submission)
        process = Process.of(int(job.job_id))
        launched.append(Launched(job=f"{submission}-{index}", executor_id=str(process or ""), pid=int(job.job_id)))
    return launched


def _gpus() -> list[int]:
    """The indices of this machine's NVIDIA GPUs."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(range(sum(line.startswith("GPU ") for line in listing.splitlines())))


if __name__ == "__main__":
    started = _start_workers(Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(started))
