"""Calls of Slurm's commands, each with a time limit. Without an answer nothing is assumed about any job.

Jobs are identified by their unique names, never by their numbers alone: a controller that lost its state gives numbers
out again. A job that was renamed is identified by its number and its batch script together.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from experiments.errors import UnreachableError
from jobs.job_environment import SLURM_PREFIXES

_log = logging.getLogger(__name__)

TOKEN = "SLURM_JWT"
"""The variable by which some sites say who calls a command; the other variables of Slurm's change what it does."""
TIMEOUT_SECONDS = 20.0
"""The time limit of a call."""
_NAMES_AT_ONCE = 200
"""Names in one command line, whose length is limited."""

FINAL_STATES = frozenset(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
     "REVOKED")
)  # fmt: skip
"""The states in which a job will not run again. Every other one, also of a newer Slurm, counts as alive."""
WAITING_STATES = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"))
"""The states before a start."""

_LAUNCH_FAILED = ("launch_failed_requeued_held", "JobHoldMaxRequeue")
_WORDS = {
    "Resources": "waits for free resources",
    "Priority": "waits behind jobs of higher priority",
    "Dependency": "waits for the training it needs, or for a place (--max-parallel)",
    "DependencyNeverSatisfied": "the training it needs failed: it will never start",
    "BeginTime": "starts again shortly",
    "JobArrayTaskLimit": "as many run as --max-parallel allows",
    "PartitionConfig": "asks for more than its partition has: it will never start",
    "PartitionNodeLimit": "asks for more nodes than its partition allows: it will never start",
    "PartitionTimeLimit": "asks for more time than its partition allows: it will never start",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "BadConstraints": "no node has what its constraint asks for: it will never start",
    "ReqNodeNotAvail": "the nodes it needs are down, drained or reserved",
    "NodeDown": "the nodes it needs are down",
    "JobHeldUser": "held: `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator",
    **dict.fromkeys(_LAUNCH_FAILED, "could not be launched and is held: the next `cebctl submit` releases it"),
    "AssocMaxJobsLimit": "as many of your jobs run as your account allows",
    "QOSMaxJobsPerUserLimit": "as many of your jobs run as the QOS allows",
    "QOSMaxGRESPerUser": "as many of your GPUs are in use as the QOS allows",
    "AssocGrpGRES": "as many GPUs are in use as your account allows",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
    "Prolog": "its node is being prepared",
}
_ENDED = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "killed at its time limit",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "out of memory: ask for more `memory`",
    "PREEMPTED": "preempted",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline passed",
}


class TaskStatus(Struct, frozen=True):
    """Slurm's answer about one task of an array."""

    name: str
    index: int
    job: str
    """Slurm's id of the task: `4711_3`."""
    state: str
    reason: str = ""
    restarts: int = 0
    nodes: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_ending(self) -> bool:
        """Whether Slurm is stopping its processes."""
        return self.state == "COMPLETING"

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING_STATES

    @property
    def has_failed_launch(self) -> bool:
        """Whether Slurm holds it because it could not be launched; not if a person holds it."""
        return self.is_waiting and self._reason in _LAUNCH_FAILED

    @property
    def _reason(self) -> str:
        return self.reason.partition(",")[0].replace(" ", "_")

    @property
    def description(self) -> str:
        """The reason of its waiting, or the manner of its end; empty for a task that simply runs or is complete."""
        if self.is_final:
            return _ENDED.get(self.state, "")
        if not self.is_waiting:
            return "" if self.state in ("RUNNING", "COMPLETING") else self.state.lower().replace("_", " ")
        return _WORDS.get(self._reason, "" if self._reason in ("None", "") else f"waits: {self.reason}")


def query_squeue(names: Iterable[str]) -> list[TaskStatus]:
    """Return the tasks of the arrays of these names, of any user; the controller forgets finished jobs after a while.

    Raises UnreachableError if it does not answer: then nothing is known.
    """
    form = "JobArrayID:|,Name:|,State:|,Reason:|,RestartCnt:|,NodeList:|"
    lines = _call_by_names(["squeue", "-h", "-r", "-a", "-t", "all", "-O", form], names)
    return [task for line in lines if (task := _parse_squeue(line))]


def query_squeue_by_ids(ids: Mapping[str, str]) -> list[TaskStatus]:
    """Return the tasks of arrays by Slurm's ids of the arrays, whose original names are the keys: they may be renamed.

    The name of the batch script, which `jobs.slurm.sbatch` calls as the array, tells a number that was given out again.
    Raises UnreachableError if the controller does not answer.
    """
    form = "JobArrayID:|,State:|,Reason:|,RestartCnt:|,NodeList:|,Command:|"
    job_ids = sorted(set(ids.values()))
    lines: list[str] = []
    for first in range(0, len(job_ids), _NAMES_AT_ONCE):
        jobs = ",".join(job_ids[first : first + _NAMES_AT_ONCE])
        try:
            lines += call(["squeue", "-h", "-r", "-a", "-t", "all", "-O", form, "-j", jobs]).splitlines()
        except UnreachableError as error:
            if "Invalid job id" not in str(error):  # squeue's error for a single unknown id; of several it skips it
                raise
    tasks = []
    for line in lines:
        job, state, reason, restarts, nodes, command = (*line.split("|"), *[""] * 6)[:6]
        name = Path(command.strip()).stem
        task = _parse_squeue("|".join([job, name, state, reason, restarts, nodes]))
        if task and ids.get(name) == task.job.partition("_")[0]:
            tasks.append(task)
    return tasks


def query_sacct(names: Iterable[str], days: int = 60) -> list[TaskStatus] | None:
    """Return the tasks of the arrays of these names from the accounting, which forgets none; None without accounting.

    Raises UnreachableError if it does not answer.
    """
    command = ["sacct", "-n", "-X", "-D", "-P", "-a", "-S", f"now-{days}days", "-o", "JobID,JobName,State,NodeList"]
    try:
        lines = _call_by_names(command, names)
    except UnreachableError as error:
        if "accounting storage is disabled" in str(error).lower():
            return None
        raise
    return [task for line in lines if (task := _parse_sacct(line))]


def _parse_squeue(line: str) -> TaskStatus | None:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) < 6:
        return None
    job, name, state, reason, restarts, nodes = fields[:6]
    _, _, index = job.partition("_")
    count = int(restarts) if restarts.isdecimal() else 0
    return TaskStatus(name, int(index), job, state, reason, count, nodes) if index.isdecimal() else None


def _parse_sacct(line: str) -> TaskStatus | None:
    fields = line.split("|")
    if len(fields) < 4 or not fields[2].strip():
        return None
    job, name, state, nodes = fields[:4]
    return _parse_squeue("|".join([job, name, state.split()[0], "", "", nodes]))  # the state may be `CANCELLED by 1000`


def job_state(job: str) -> tuple[str, int, int | None]:
    """Return state, restarts and remaining seconds of one job, for the job itself. Raises UnreachableError."""
    lines = call(["squeue", "-h", "-a", "-j", job, "-O", "State:|,RestartCnt:|,TimeLeft:|"], limit=5).splitlines()
    rows = [line.split("|") for line in lines if line.count("|") >= 3]
    state, restarts, left = [field.strip() for field in rows[-1][:3]] if rows else ("", "", "")
    return state, int(restarts) if restarts.isdecimal() else 0, parse_time(left)


def is_preempted(job: str) -> bool:
    """Whether a job that is being ended was preempted; False where this version of Slurm can't tell."""
    try:
        return any(char.isdigit() for char in call(["squeue", "-h", "-a", "-j", job, "-O", "PreemptTime"], limit=5))
    except UnreachableError:
        return False


def requeue(job: str) -> None:
    """Requeue a running job. Raises UnreachableError if Slurm refuses."""
    call(["scontrol", "requeue", job], limit=15)


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs by Slurm's ids; one that has ended already is no error. Raises UnreachableError."""
    for first in range(0, len(jobs), _NAMES_AT_ONCE):
        call(["scancel", *jobs[first : first + _NAMES_AT_ONCE]])


def release(job: str) -> None:
    """Release a held job. Raises UnreachableError if Slurm refuses."""
    call(["scontrol", "release", job])


def call(command: Sequence[str], limit: float = TIMEOUT_SECONDS) -> str:
    """Return the output of a Slurm command.

    Raises UnreachableError if it fails, NoAnswerError if it may have taken effect all the same, and NotConfiguredError
    if no cluster is configured.
    """
    kept = ("SLURM_CONF", TOKEN)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SLURM_PREFIXES) or k in kept}
    environment["SLURM_TIME_FORMAT"] = "%s"
    if (conf := environment.get("SLURM_CONF")) and not Path(conf).exists():  # which Slurm waits a minute for
        raise UnreachableError("Slurm", f"SLURM_CONF names {conf}, which is not there")
    began = time.monotonic()
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", timeout=limit, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        raise UnreachableError("Slurm", f"there is no `{command[0]}` on the PATH") from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(command[0], f"no answer within {limit:g} s") from None
    finally:
        _log.debug("%s (%.2f s)", shlex.join(command), time.monotonic() - began)
    if done.returncode:
        text = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        if re.search("configuration (source|file)", text) and not _TIMEOUT_PATTERN.search(text):
            raise NotConfiguredError
        kind = NoAnswerError if _TIMEOUT_PATTERN.search(text) else UnreachableError
        raise kind("Slurm", re.sub(r"^\w+: (error: )?", f"{command[0]}: ", text)[:500])
    return done.stdout


class NotConfiguredError(UnreachableError):
    """Slurm is installed, but no cluster is configured."""

    def __init__(self) -> None:
        where = "SLURM_CONF names its slurm.conf, `--on local` runs jobs on this machine"
        super().__init__("Slurm", f"its commands are here, but no cluster is configured; {where}")


class NoAnswerError(UnreachableError):
    """The controller did not answer in time: the request may still take effect."""


_TIMEOUT_PATTERN = re.compile(
    r"timed out|Unable to contact|Connection (refused|reset)|connect failure|Zero Bytes", re.IGNORECASE
)


def _call_by_names(command: list[str], names: Iterable[str]) -> list[str]:
    unique = sorted(set(names))
    lines: list[str] = []
    for first in range(0, len(unique), _NAMES_AT_ONCE):
        lines += call([*command, "--name=" + ",".join(unique[first : first + _NAMES_AT_ONCE])]).splitlines()
    return lines


def parse_time(left: str) -> int | None:
    """Return a time such as `1-02:03:04` in seconds; None for a text that is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", left)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
