"""Handing jobs to an executor: the only file that submits.

Of submitit it takes the local executor and, on Slurm, the text of the batch script. An array is sent by `sbatch`
itself: submitit's own way writes and reads a pickle per element, calls a hung controller without a time limit, and
ignores the SIGTERM of a preemption.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.errors import InputError, UnreachableError
from experiments.resources import Resources
from jobs.job_environment import _set_in_jobs
from jobs.journal.records import Launched
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import client

_log = logging.getLogger(__name__)

_KEPT_ON_SLURM = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|SLURM_CONF|MODULE\w*|LMOD_\w*|BASH_ENV|BASH_FUNC_m\w+%%"
)
"""What a job keeps of the submitter's environment: where things are and how `module` works, and no more."""
_SIGNAL_SECONDS = 120
"""How long before its time limit a job is told, or a sixth of the limit if that is less."""
_SBATCH_SECONDS = 60.0
_OUT_OF_SIGHT_DAYS = 360
"""A start that sbatch sees so far ahead is none."""


@dataclass(frozen=True)
class ArrayRequest:
    """One array to be sent."""

    name: str
    """Unique: by it the array is found again."""
    resources: Resources
    indices: Sequence[int]
    """Of its elements, ascending."""
    max_parallel: int | None = None
    """How many of them may run at a time."""
    dependencies: Sequence[str] = ()
    """sbatch's dependencies: `aftercorr:4711`."""
    exclude_nodes: Sequence[str] = ()
    """Nodes it may not run on."""


def submit_array(home: Home, snapshot: Snapshot, submission: str, array: ArrayRequest) -> Launched:
    """Send an array to Slurm.

    Raises InputError if Slurm refuses it, TooManyJobsError if only its size is refused, UnreachableError if the
    controller can't be reached, and NoAnswerError if it did not answer: it may accept the array yet.
    """
    folder = home.workers(submission)
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"{array.name}.sh"
    script.write_text(_batch_script(home, snapshot, submission, array))
    done = _sbatch("--parsable", str(script), cwd=home.folder)
    return Launched(job=array.name, executor_id=done.stdout.strip().partition(";")[0])


def test_only(resources: Resources) -> tuple[str, bool]:
    """Return what sbatch says of one job with these resources, which is not sent, and whether it says when it starts.

    Behind jobs without a time limit it can't tell, and names a day in a year or in centuries.
    Raises InputError if it would be refused, UnreachableError if the controller does not answer.
    """
    options = _options(ArrayRequest("rehearsal", resources, [0])) | {
        "nodes": str(resources.nodes), "ntasks-per-node": str(_tasks(resources)),
        "cpus-per-task": str(_cpus(resources)), "wrap": "true",
    }  # fmt: skip
    del options["array"]
    given = [f"--{option}" if value is True else f"--{option}={value}" for option, value in options.items()]
    said = _sbatch("--test-only", *given).stderr
    found = re.search(r"to start at (\S+) .*on nodes (\S+)", said)
    if not found:
        return said.strip(), True
    if _is_out_of_sight(found[1]):
        return "Slurm can't say when: what it needs is in use without a time limit, or out of service", False
    return f"it could start at {found[1]} on {found[2]}", True


def _is_out_of_sight(moment: str) -> bool:
    """Whether it is no forecast: a job without a time limit counts as one of a year, or of centuries."""
    try:
        return datetime.fromisoformat(moment) > datetime.now() + timedelta(days=_OUT_OF_SIGHT_DAYS)
    except (ValueError, OverflowError):
        return False


def _sbatch(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call sbatch in a clean environment. Raises what `send` raises."""
    kept = {key: value for key, value in os.environ.items() if _KEPT_ON_SLURM.fullmatch(key)}
    try:
        done = subprocess.run(
            ["sbatch", *arguments],
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            timeout=_SBATCH_SECONDS,
            start_new_session=True,  # out of reach of a Ctrl-C: it would leave open whether the array was accepted
        )
    except FileNotFoundError:
        raise UnreachableError("Slurm", "there is no `sbatch` on the PATH") from None
    except subprocess.TimeoutExpired:
        raise client.NoAnswerError("Slurm", f"sbatch had no answer within {_SBATCH_SECONDS:g} s") from None
    _log.debug("sbatch %s: %s", shlex.join(arguments), (done.stdout or done.stderr).strip())
    if done.returncode:
        raise _sbatch_error(done.stderr)
    return done


class TooManyJobsError(UnreachableError):
    """The site does not let this user queue so many jobs."""


def _sbatch_error(text: str) -> Exception:
    said = " ".join(re.sub(r"sbatch: (error: )?", "", text).split())[:500] or "sbatch failed without a word"
    limits = re.findall(r"\w+Limit\b", said)  # sbatch's sentence on any of them ends with `job submit limit, …`
    if any("Submit" in limit for limit in limits) or (not limits and re.search(r"MaxSubmit|submit limit", said)):
        return TooManyJobsError("Slurm", said)
    if re.search(r"timed out|Zero Bytes", said, re.IGNORECASE):
        return client.NoAnswerError("Slurm", said)
    if re.search(r"Unable to contact|connect|temporarily|MaxJobCount|Resource temporarily", said, re.IGNORECASE):
        return UnreachableError("Slurm", said)
    return InputError("resources", f"Slurm refuses them: {said}", "`cebctl doctor MATRIX` says what this cluster has")


def _batch_script(home: Home, snapshot: Snapshot, submission: str, array: ArrayRequest) -> str:
    """The batch script: submitit's text, which quotes every option."""
    from submitit.slurm.slurm import _make_sbatch_string

    resources = array.resources
    call = shlex.join([sys.executable, "-m", "jobs.slurm.array_task", str(home.folder), submission, array.name])
    environment = _set_in_jobs(home, snapshot) | {"OMP_NUM_THREADS": str(_cpus(resources))}
    by_itself: dict[str, Any] = {"time": None, "wckey": None}  # no five minutes, no key that accounting may not know
    text: str = _make_sbatch_string(
        command=call,
        folder=home.workers(submission),
        job_name=array.name,
        map_count=len(array.indices),
        nodes=resources.nodes,
        ntasks_per_node=_tasks(resources),
        cpus_per_task=_cpus(resources),
        signal_delay_s=_signal_seconds(resources.time),
        stderr_to_stdout=True,
        setup=[
            *(f"export {key}={shlex.quote(value)}" for key, value in environment.items()),
            *resources.setup,
            "set +e",  # what comes behind srun is to run whatever becomes of it
        ],
        srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={_cpus(resources)}", "--export=ALL"],
        teardown=["code=$?", f'exec {call} --ended "$code"'],
        additional_parameters=_options(array),
        **by_itself,
    )
    return text


def _tasks(resources: Resources) -> int:
    """Per node: one for each GPU."""
    return max(resources.gpus_per_node, 1)


def _cpus(resources: Resources) -> int:
    """Cores per task."""
    return max(resources.cpus // _tasks(resources), 1) if resources.cpus else resources.cpus_per_gpu or 1


def _options(array: ArrayRequest) -> dict[str, str | bool]:
    """The options of sbatch, but for those that submitit has parameters of its own for."""
    resources = array.resources
    kind = f"{resources.gpu_type}:" if resources.gpu_type else ""
    asked = {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "reservation": resources.reservation,
        "constraint": resources.constraint,
        "mem": resources.memory,
        "time": resources.time,
        "gpus-per-node": f"{kind}{resources.gpus_per_node}" if resources.gpus_per_node else None,
        "exclude": ",".join(array.exclude_nodes),
        "dependency": ",".join(array.dependencies),
    }
    own = {option: value or True for option, _, value in (line.partition("=") for line in resources.directives)}
    limit = f"%{array.max_parallel}" if array.max_parallel else ""
    return (
        own
        | {option: value for option, value in asked.items() if value}
        | {"array": _ranges(array.indices) + limit, "export": "ALL", "requeue": True, "kill-on-invalid-dep": "yes"}
    )


def _ranges(indices: Sequence[int]) -> str:
    """Ascending indices as sbatch writes them: `0-3,5`."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def _signal_seconds(limit: str | None) -> int:
    """How long before its time limit a job is told."""
    seconds = client.parse_time(limit) if limit else None
    return min(_SIGNAL_SECONDS, seconds // 6) if seconds else _SIGNAL_SECONDS
