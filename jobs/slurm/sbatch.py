"""Submission of job arrays to Slurm.

submitit writes the text of the batch script, and `sbatch` is called here: submitit's own submission writes and reads a
pickle for each task, calls a hung controller without a time limit, and ignores the SIGTERM of a preemption.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from experiments.errors import InputError, UnreachableError
from experiments.resources import Resources
from jobs import file_ownership, snapshot_check
from jobs.job_environment import job_variables
from jobs.journal.records import Launched
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import client

_log = logging.getLogger(__name__)

_KEPT_ON_SLURM = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|SLURM_CONF|MODULE\w*|LMOD_\w*|BASH_ENV|BASH_FUNC_m\w+%%"
)
"""The variables that a job inherits from the submitter: search paths and those that `module` needs."""
_JOB_ID = re.compile(r"^(?:Submitted batch job )?([1-9]\d{0,9})(?:;[\w.-]+)?[ \t\r]*$", re.MULTILINE)
"""The line of sbatch's answer with the id of a job, and perhaps its cluster."""
_FOR_SBATCH = ("LD_LIBRARY_PATH", "KRB5CCNAME", client.TOKEN)
"""The variables that sbatch itself may need, to start or to say who calls it. Jobs don't inherit them."""
_SIGNAL_SECONDS = 120
"""The time before its limit at which a job gets the signal; a sixth of the limit if that is less."""
_SBATCH_SECONDS = 60.0
_FORECAST_DAYS = 360
"""A start that sbatch predicts further ahead is no forecast."""


@dataclass(frozen=True)
class ArrayRequest:
    """One array to be submitted."""

    name: str
    """Unique: the array is identified by it in the queue."""
    resources: Resources
    indices: Sequence[int]
    """The indices of its tasks, ascending."""
    max_parallel: int | None = None
    """The number of tasks that may run at a time; None: all."""
    dependencies: Sequence[str] = ()
    """As sbatch's `--dependency` takes them: `aftercorr:4711`."""
    exclude_nodes: Sequence[str] = ()
    """Nodes that it may not run on."""


def submit_array(home: Home, snapshot: Snapshot, submission: str, array: ArrayRequest) -> Launched:
    """Submit an array to Slurm.

    Raises InputError if Slurm refuses it or somebody else could write its script, TooManyJobsError if only its size is
    refused, UnreachableError if the controller can't be reached, and NoAnswerError if it did not answer: it may still
    accept the array.
    """
    folder = home.workers(submission)
    folder.mkdir(parents=True, exist_ok=True)
    file_ownership.check_private(folder, home.folder)
    script = folder / f"{array.name}.sh"
    script.write_text(_batch_script(home, snapshot, submission, array))
    done = _sbatch("--parsable", str(script), cwd=home.folder)
    return Launched(job=array.name, executor_id=_job_id(done.stdout, array.name))


def _job_id(output: str, array: str) -> str:
    """Return the id of an array from sbatch's answer, which a site's wrapper may have put a banner around.

    Where the answer has none, or several lines that could be one, the queue tells which job has the array's name.
    Raises NoAnswerError if that is not there either: Slurm may have accepted the array.
    """
    ids = dict.fromkeys(_JOB_ID.findall(output))
    if len(ids) != 1:
        ids = dict.fromkeys(task.job.partition("_")[0] for task in client.query_squeue([array]))
    if len(ids) != 1:
        answer = " ".join(output.split())[:200]
        raise client.NoAnswerError("Slurm", f"sbatch's answer names no job, and the queue none of {array}: {answer!r}")
    job: str = next(iter(ids))
    return job


def test_only(resources: Resources) -> tuple[str, bool]:
    """Return sbatch's forecast for one job with these resources, and whether it names a start. Submits nothing.

    Behind jobs without a time limit sbatch can't tell, and names a day in a year or in centuries.
    Raises InputError if it would be refused, UnreachableError if the controller does not answer.
    """
    options = _options(ArrayRequest("rehearsal", resources, [0])) | {
        "nodes": str(resources.nodes), "ntasks-per-node": str(_tasks(resources)),
        "cpus-per-task": str(_cpus(resources)), "wrap": "true",
    }  # fmt: skip
    del options["array"]
    arguments = [f"--{option}" if value is True else f"--{option}={value}" for option, value in options.items()]
    output = _sbatch("--test-only", *arguments).stderr
    match = re.search(r"to start at (\S+) .*on nodes (\S+)", output)
    if not match:
        return output.strip(), True
    with suppress(ValueError, OverflowError):  # a time in another format is shown as it is
        if datetime.fromisoformat(match[1]) > datetime.now() + timedelta(days=_FORECAST_DAYS):
            return "Slurm can't say when: what it needs is in use without a time limit, or out of service", False
    return f"it could start at {match[1]} on {match[2]}", True


def _sbatch(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call sbatch in a clean environment. Raises as `submit_array` does."""
    environment = {k: v for k, v in os.environ.items() if _KEPT_ON_SLURM.fullmatch(k) or k in _FOR_SBATCH}
    try:
        done = subprocess.run(
            ["sbatch", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            timeout=_SBATCH_SECONDS,
            start_new_session=True,  # a Ctrl-C in the middle would leave open whether the array was accepted
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
    """The site limits the number of jobs that this user may queue."""


def _sbatch_error(text: str) -> Exception:
    """Return the error for sbatch's message."""
    message = " ".join(re.sub(r"sbatch: (error: )?", "", text).split())[:500] or "sbatch failed without a word"
    limits = re.findall(r"\w+Limit\b", message)  # for any limit sbatch's sentence ends with `job submit limit, …`
    if any("Submit" in limit for limit in limits) or (not limits and re.search(r"MaxSubmit|submit limit", message)):
        return TooManyJobsError("Slurm", message)
    if re.search(r"timed out|Zero Bytes", message, re.IGNORECASE):
        return client.NoAnswerError("Slurm", message)
    if re.search(r"Unable to contact|connect|temporarily|MaxJobCount", message, re.IGNORECASE):
        return UnreachableError("Slurm", message)
    return InputError(
        "resources", f"Slurm refuses them: {message}", "`cebctl doctor MATRIX` says what this cluster has"
    )


def _batch_script(home: Home, snapshot: Snapshot, submission: str, array: ArrayRequest) -> str:
    """Return the batch script.

    submitit's function quotes every option. It is private: pyproject.toml bounds its version, a test holds its text.
    """
    from submitit.slurm.slurm import _make_sbatch_string

    # A `%%` is a `%` to sbatch, but the step of the job then can't open its log.
    if mark := next((mark for mark in "%\\" if mark in str(home.folder)), None):
        wrong = f"{home.folder} holds {mark!r}, by which Slurm takes the path of a log for a pattern"
        raise InputError("CEBCTL_HOME", wrong, "name a folder without it")
    resources = array.resources
    limit = client.parse_time(resources.time) if resources.time else None
    call = shlex.join([sys.executable, "-m", "jobs.slurm.array_task", str(home.folder), submission, array.name])
    environment = job_variables(home, snapshot) | {"OMP_NUM_THREADS": str(_cpus(resources))}
    by_itself: dict[str, Any] = {"time": None, "wckey": None}  # no five minutes, no key that accounting may not know
    text: str = _make_sbatch_string(
        command=call,
        folder=home.workers(submission),
        job_name=array.name,
        map_count=len(array.indices),
        nodes=resources.nodes,
        ntasks_per_node=_tasks(resources),
        cpus_per_task=_cpus(resources),
        signal_delay_s=min(_SIGNAL_SECONDS, limit // 6) if limit else _SIGNAL_SECONDS,
        stderr_to_stdout=True,
        setup=[
            *_unset_lines(),
            *(f"export {key}={shlex.quote(value)}" for key, value in environment.items()),
            *resources.setup,
            f"{_snapshot_check(home, snapshot)} || exit",
            "set +e",  # the lines after srun have to run also where srun fails
        ],
        srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={_cpus(resources)}", "--export=ALL"],
        teardown=["code=$?", f'exec {call} --ended "$code"'],
        additional_parameters=_options(array),
        **by_itself,
    )
    return text


def _unset_lines() -> list[str]:
    """Return the lines that remove sbatch's own variables from a job, unless its node gave them other values. The token
    is a secret, so that its value is not written down."""
    lines = []
    for name in _FOR_SBATCH:
        if (value := os.environ.get(name)) is not None:
            is_other = f'[ "${{{name}-}}" != {shlex.quote(value)} ] || ' if name != client.TOKEN else ""
            lines.append(f"{is_other}unset {name}")
    return lines


def _snapshot_check(home: Home, snapshot: Snapshot) -> str:
    """Return the command that fails unless the snapshot may still be run when the job starts. It carries its code: a
    file in the home would be checking itself."""
    text = Path(snapshot_check.__file__).read_text("utf-8")
    return shlex.join([sys.executable, "-I", "-c", text, str(snapshot.folder), str(home.folder)])


def _tasks(resources: Resources) -> int:
    """Return the tasks per node: one for each GPU."""
    return max(resources.gpus_per_node, 1)


def _cpus(resources: Resources) -> int:
    """Return the cores per task."""
    return max(resources.cpus // _tasks(resources), 1) if resources.cpus else resources.cpus_per_gpu or 1


def _options(array: ArrayRequest) -> dict[str, str | bool]:
    """Return sbatch's options, without those that are parameters of submitit's function."""
    resources = array.resources
    kind = f"{resources.gpu_type}:" if resources.gpu_type else ""
    requested = {
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "reservation": resources.reservation,
        "constraint": resources.constraint,
        "mem": resources.memory,
        "time": resources.time,
        "gpus-per-node": f"{kind}{resources.gpus_per_node}" if resources.gpus_per_node else None,
        "dependency": ",".join(array.dependencies),
    }
    directives = {option: value or True for option, _, value in (line.partition("=") for line in resources.directives)}
    if array.exclude_nodes:  # beside those that the user excludes
        user = directives.get("exclude")
        directives["exclude"] = ",".join([*([user] if isinstance(user, str) else []), *array.exclude_nodes])
    limit = f"%{array.max_parallel}" if array.max_parallel else ""
    return (
        directives
        | {option: value for option, value in requested.items() if value}
        | {"array": _ranges(array.indices) + limit, "export": "ALL", "requeue": True, "kill-on-invalid-dep": "yes"}
    )


def _ranges(indices: Sequence[int]) -> str:
    """Return ascending indices in sbatch's notation: `0-3,5`."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)
