"""Start local workers through submitit's local executor."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from experiments.errors import UnreachableError
from jobs import file_ownership
from jobs.job_environment import job_environment
from jobs.journal.records import Launched
from jobs.paths import Home
from jobs.processes import Process
from jobs.provenance import Snapshot

_log = logging.getLogger(__name__)

_NO_TIMEOUT_MINUTES = 60 * 24 * 365
"""submitit demands a time limit; a year stands for none."""


def launch_local(home: Home, snapshot: Snapshot, submission: str, workers: int) -> list[Launched]:
    """Start local workers that outlive this process and its terminal, each on its share of the GPUs if there are any.

    A separate process in its own session calls submitit: submitit's children stay in the caller's process group, where
    a Ctrl-C that ends `submit --wait` would also stop them. Raises UnreachableError if they can't be started, and
    InputError if somebody else could write what submitit hands to them.
    """
    folder = home.workers(submission)
    folder.mkdir(parents=True, exist_ok=True)
    file_ownership.check_private(folder, home.folder)
    command = [sys.executable, "-m", "jobs.local.launch", str(home.folder), submission, str(workers)]
    _log.debug("starting %d local workers: %s", workers, shlex.join(command))
    # Files, not pipes: the workers inherit these streams, and reading a pipe would last as long as they live.
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


def _start_workers(home: Home, submission: str, workers: int) -> list[Launched]:
    from submitit import LocalExecutor

    from jobs.local import worker

    executor = LocalExecutor(folder=home.workers(submission))
    gpus = local_gpus()
    launched = []
    for index in range(workers):
        share = gpus[index::workers] or gpus[index % len(gpus) :][:1] if gpus else []
        executor.update_parameters(
            timeout_min=_NO_TIMEOUT_MINUTES, gpus_per_node=len(share), visible_gpus=share, stderr_to_stdout=True
        )
        job = executor.submit(worker.work, str(home.folder), submission)
        process = Process.from_pid(int(job.job_id))
        launched.append(Launched(job=f"{submission}-{index}", executor_id=str(process or ""), pid=int(job.job_id)))
    return launched


def local_gpus() -> list[int]:
    """Return the indices of this machine's NVIDIA GPUs."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(range(sum(line.startswith("GPU ") for line in listing.splitlines())))


if __name__ == "__main__":
    started = _start_workers(Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(started))
