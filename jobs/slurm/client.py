"""Asking Slurm and telling it: every call has a time limit, and what it does not answer is not known.

Jobs are found by their unique names, never by their numbers alone, which a controller that lost its memory
gives out again; one that was renamed is found by its number and its batch script together.
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

TIMEOUT_SECONDS = 20.0
"""How long a call may take."""
_NAMES_AT_ONCE = 200

FINAL_STATES = frozenset(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
     "REVOKED")
)  # fmt: skip
"""The states in which a job will not run again. Every other one, known here or not, counts as alive."""
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
    """What Slurm says of one element of an array."""

    name: str
    index: int
    job: str
    """Slurm's id of it: `4711_3`."""
    state: str
    reason: str = ""
    restarts: int = 0
    nodes: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, and its processes are being stopped."""
        return self.state == "COMPLETING"

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING_STATES

    @property
    def has_failed_launch(self) -> bool:
        """Whether Slurm holds it because it could not be launched, and nobody else wants it held."""
        return self.is_waiting and self._reason in _LAUNCH_FAILED

    @property
    def _reason(self) -> str:
        return self.reason.partition(",")[0].replace(" ", "_")

    @property
    def description(self) -> str:
        """Why it waits or how it ended; empty where there is nothing to say."""
        if self.is_final:
            return _ENDED.get(self.state, "")
        if not self.is_waiting:
            return "" if self.state in ("RUNNING", "COMPLETING") else self.state.lower().replace("_", " ")
        return _WORDS.get(self._reason, "" if self._reason in ("None", "") else f"waits: {self.reason}")


def query_squeue(names: Iterable[str]) -> list[TaskStatus]:
    """What the controller knows of the arrays of these names, whosever they are; a finished job it forgets.

    Raises UnreachableError if it does not answer: then nothing is known.
    """
    form = "JobArrayID:|,Name:|,State:|,Reason:|,RestartCnt:|,NodeList:|"
    lines = _by_names(["squeue", "-h", "-r", "-a", "-t", "all", "-O", form], names)
    return [element for line in lines if (element := _queued(line))]


def query_squeue_by_ids(ids: Mapping[str, str]) -> list[TaskStatus]:
    """Return what the controller knows of arrays by Slurm's ids of them, given by name, whatever they are called now.

    A number that was given out again is told by the name of its batch script, which `jobs.slurm.sbatch` calls as the
    array. Raises UnreachableError if it does not answer.
    """
    form = "JobArrayID:|,State:|,Reason:|,RestartCnt:|,NodeList:|,Command:|"
    wanted = sorted(set(ids.values()))
    lines: list[str] = []
    for first in range(0, len(wanted), _NAMES_AT_ONCE):
        jobs = ",".join(wanted[first : first + _NAMES_AT_ONCE])
        try:
            lines += call(["squeue", "-h", "-r", "-a", "-t", "all", "-O", form, "-j", jobs]).splitlines()
        except UnreachableError as error:
            if "Invalid job id" not in str(error):  # which it says of a single one that it does not know
                raise
    elements = []
    for line in lines:
        job, state, reason, restarts, nodes, command = (*line.split("|"), *[""] * 6)[:6]
        name = Path(command.strip()).stem
        element = _queued("|".join([job, name, state, reason, restarts, nodes]))
        if element and ids.get(name) == element.job.partition("_")[0]:
            elements.append(element)
    return elements


def query_sacct(names: Iterable[str], days: int = 60) -> list[TaskStatus] | None:
    """The same from the accounting, which does not forget; None where there is none.

    Raises UnreachableError if it does not answer.
    """
    command = ["sacct", "-n", "-X", "-D", "-P", "-a", "-S", f"now-{days}days", "-o", "JobID,JobName,State,NodeList"]
    try:
        lines = _by_names(command, names)
    except UnreachableError as error:
        if "accounting storage is disabled" in str(error).lower():
            return None
        raise
    return [element for line in lines if (element := _accounted(line))]


def _queued(line: str) -> TaskStatus | None:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) < 6:
        return None
    job, name, state, reason, restarts, nodes = fields[:6]
    _, _, index = job.partition("_")
    count = int(restarts) if restarts.isdecimal() else 0
    return TaskStatus(name, int(index), job, state, reason, count, nodes) if index.isdecimal() else None


def _accounted(line: str) -> TaskStatus | None:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) < 4 or not fields[2]:
        return None
    job, name, state, nodes = fields[:4]
    _, _, index = job.partition("_")
    state = state.split()[0]  # CANCELLED by 1000
    return TaskStatus(name, int(index), job, state, "", 0, nodes) if index.isdecimal() else None


def job_state(job: str) -> tuple[str, int, int | None]:
    """State, restarts and the seconds left of one job, for the job itself. Raises UnreachableError."""
    lines = call(["squeue", "-h", "-a", "-j", job, "-O", "State:|,RestartCnt:|,TimeLeft:|"], limit=5).splitlines()
    state, restarts, left = [field.strip() for field in lines[0].split("|")[:3]] if lines else ("", "", "")
    return state, int(restarts) if restarts.isdecimal() else 0, parse_time(left)


def is_preempted(job: str) -> bool:
    """Whether a job that is being ended was preempted; no where this Slurm can't say."""
    try:
        return any(char.isdigit() for char in call(["squeue", "-h", "-a", "-j", job, "-O", "PreemptTime"], limit=5))
    except UnreachableError:
        return False


def requeue(job: str) -> None:
    """Have a running job start again. Raises UnreachableError if Slurm does not take the order."""
    call(["scontrol", "requeue", job], limit=15)


def cancel(jobs: Sequence[str]) -> None:
    """End jobs, named by Slurm's ids; one that is gone already is no error. Raises UnreachableError."""
    for first in range(0, len(jobs), _NAMES_AT_ONCE):
        call(["scancel", *jobs[first : first + _NAMES_AT_ONCE]])


def release(job: str) -> None:
    """Have a held job wait for its start again. Raises UnreachableError if Slurm does not take the order."""
    call(["scontrol", "release", job])


def call(command: Sequence[str], limit: float = TIMEOUT_SECONDS) -> str:
    """What a command of Slurm's prints. Raises UnreachableError, NoAnswerError if it may have acted,
    and NotConfiguredError if there is no cluster."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SLURM_PREFIXES) or k == "SLURM_CONF"}
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
    """Slurm is installed, and no cluster is to be found."""

    def __init__(self) -> None:
        where = "SLURM_CONF names its slurm.conf, `--on local` runs jobs on this machine"
        super().__init__("Slurm", f"its commands are here, but no cluster is configured; {where}")


class NoAnswerError(UnreachableError):
    """The controller did not answer in time: what was asked of it may happen yet."""


_TIMEOUT_PATTERN = re.compile(
    r"timed out|Unable to contact|Connection (refused|reset)|connect failure|Zero Bytes", re.IGNORECASE
)


def _by_names(command: list[str], names: Iterable[str]) -> list[str]:
    wanted = sorted(set(names))
    lines: list[str] = []
    for first in range(0, len(wanted), _NAMES_AT_ONCE):
        lines += call([*command, "--name=" + ",".join(wanted[first : first + _NAMES_AT_ONCE])]).splitlines()
    return lines


def parse_time(left: str) -> int | None:
    """`1-02:03:04` in seconds; None for what is no time."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", left)
    if not found:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
