"""One task of a job array on the cluster: its claim, its signals, one attempt, and the decision to requeue.

    python -m jobs.slurm.array_task HOME SUBMISSION ARRAY             the work, by srun, one process (rank) for each GPU
    python -m jobs.slurm.array_task HOME SUBMISSION ARRAY --ended N   after it, in the batch script: srun's exit code

Rank 0 holds the lease and writes the journal; the other ranks do the same work without. The array task decides from
the journals alone whether Slurm shall requeue it: for each reason as often as the matrix's `retries` allow. No process
on the login node takes part.
"""

from __future__ import annotations

import signal

from jobs.signals import TIME_LIMIT, StopRequest  # before all slow imports: an earlier signal would kill the process

if __name__ == "__main__":
    _stop_request = StopRequest(TIME_LIMIT, signal.SIGTERM)

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from experiments.errors import CebctlError
from experiments.resources import Retries
from jobs import file_ownership, processes
from jobs.attempt import lease, runner
from jobs.journal.files import Journal
from jobs.journal.history import is_claim_released, is_trained
from jobs.journal.ownership import attempt_records, read_head, submission_records
from jobs.journal.records import TERMINAL, Claim, Died, Failed, PlannedArray, Preempted, Started, Submitted, Succeeded
from jobs.paths import Home, RunPaths, Stage
from jobs.slurm import client

EXIT_REQUEUE = 75
"""The exit code of an array task that will start again (EX_TEMPFAIL)."""
EXIT_REFUSED = 69
"""The exit code of an array task that did not begin and printed why (EX_UNAVAILABLE)."""
PERMANENT_FAILURES = ("nan", "exploded", "input", "code", "retries")
"""The kinds of failures that another attempt would only repeat."""

NOTICE_SECONDS = 240
"""A user signal with more time left than this does not announce the time limit: that signal comes 120 s ahead of it, or
up to a minute sooner."""

POLL_SECONDS = 0.5
"""The interval at which the other ranks look whether rank 0 has begun."""
LAST_WORDS_SECONDS = 10.0
"""The time that a failed rank gives rank 0 to record the error, before its own exit makes srun kill all ranks."""

LifecycleRecord = Started | Preempted | Died | Succeeded | Failed
"""The records of an attempt's begin and end."""
Reason = Literal["preempted", "timeout", "node_failure", "failed"]


class GaveUpError(CebctlError):
    """A stage has used up its `retries`."""

    kind = "retries"

    def __init__(self, reason: str, allowed: object, hosts: Sequence[str]) -> None:
        on_hosts = f" (on {', '.join(hosts)})" if hosts else ""
        super().__init__(f"gave up: {reason.replace('_', ' ')} more than {allowed} times{on_hosts}; see `retries`")


@dataclass(frozen=True)
class ArrayTask:
    """One task of an array: its claim, and this start of its job."""

    home: Home
    submission: Submitted
    claim: Claim
    retries: Retries
    job: str
    """Slurm's id of the task, such as `4711_3`."""
    restart: int
    """How often Slurm had started it before."""

    @property
    def stage(self) -> Stage:
        return self.claim.stage

    @property
    def paths(self) -> RunPaths:
        return self.home.run(self.claim.run_id, self.claim.training)

    def attempts(self) -> list[tuple[int, list[LifecycleRecord]]]:
        """Return the numbers of this submission's attempts at the stage, each with its begin and its ends."""
        attempts = []
        for number in self.paths.attempts(self.stage):
            records = [r for r in attempt_records(self.paths, self.stage, number) if isinstance(r, LifecycleRecord)]
            if records and isinstance(records[0], Started) and records[0].submission == self.submission.name:
                attempts.append((number, records))
        return attempts


def from_environment(home: Home, submission: str, array: str) -> ArrayTask | None:
    """Return the array task of this process, by Slurm's variables; None if its claim was given back since.

    A claim is given back when the array was cancelled, or taken for dead while the controller did not answer.
    """
    index = int(os.environ["SLURM_ARRAY_TASK_ID"])
    submitted, claim, retries = None, None, Retries()
    for record in submission_records(home, submission):
        match record:
            case Submitted():
                submitted = record
            case PlannedArray(job=name, resources=resources) if name == array:
                retries = resources.retries
            case Claim(job=name, index=number) if name == array and number == index:
                claim = record
    if submitted is None or claim is None:
        raise CebctlError(f"{home.submission(submission)}: has no claim for task {index} of {array}")
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
    restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    is_released = is_claim_released(home, submission, claim.run_id, claim.stage)
    return None if is_released else ArrayTask(home, submitted, claim, retries, job, restart)


def run_rank_zero(task: ArrayTask, stop_request: StopRequest, payload: runner.Work | None = None) -> int:
    """Run one attempt and return the exit code. Only after 0 does Slurm start the tasks that depend on this one."""
    stage, paths = task.stage, task.paths
    past = task.attempts()
    if any(isinstance(records[-1], Succeeded) for _, records in past):
        print(f"{paths.folder}: {stage} has ended before")
        return 0
    if past and isinstance(failure := past[-1][1][-1], Failed) and not should_requeue(task, failure):
        print(f"{paths.folder}: {stage} has ended before: {failure}")
        return EXIT_REFUSED
    if complaint := _missing_prerequisite(task):
        print(complaint)
        return EXIT_REFUSED
    end = runner.run_attempt(
        task.home,
        task.submission,
        task.claim,
        stage,
        _refusal(task) or payload,
        runner.JobStart(task.job, task.restart, stop_request, owns_output=True),
    )
    if isinstance(end, Succeeded):
        return 0
    if end is None:
        print("another attempt, a newer one, is at work")
        return EXIT_REFUSED
    return requeue(task) if should_requeue(task, end) else 1


def _missing_prerequisite(task: ArrayTask) -> str:
    """Return a message that names the run that has to be trained first; empty where none has to be."""
    needed = task.paths if task.stage == "evaluate" else runner.extended_run(task.claim, task.paths)
    is_outdated = task.stage == "train" and needed is not None and needed.generation < task.claim.extended
    if needed is None or (is_trained(needed) and not is_outdated):
        return ""
    purpose = "evaluate" if task.stage == "evaluate" else "extend"
    return f"{needed.folder}: is not trained{' again' * is_outdated}, so that there is nothing to {purpose}"


def run_other_rank(task: ArrayTask, stop_request: StopRequest, rank: int) -> int:
    """Do the same work as rank 0, as soon as that has begun, and return the exit code.

    Rank 0 records how the attempt ended, and its exit code decides. A stop request reaches all ranks.
    """
    while (attempt := _begun_attempt(task)) is None:
        if any(isinstance(record, Succeeded) for _, records in task.attempts() for record in records):
            return 0
        time.sleep(POLL_SECONDS)
    processes.redirect_output(task.paths.log(task.stage, attempt).with_suffix(f".rank{rank}.log"))
    if runner.join_attempt(task.submission, task.claim, task.stage, task.paths, stop_request):
        return 0
    time.sleep(LAST_WORDS_SECONDS)
    return 1


def _begun_attempt(task: ArrayTask) -> int | None:
    """Return the number of the attempt that rank 0 of this start has begun."""
    for number in task.paths.attempts(task.stage)[-1:]:
        head = read_head(task.paths, task.stage, number)
        if head is not None and _is_start(head, task):
            return number
    return None


def _refusal(task: ArrayTask) -> runner.Work | None:
    """Return work that raises GaveUpError, so that the journal records it; None while `retries` allow an attempt."""
    for reason, count in count_ends(task).items():
        allowed = getattr(task.retries, reason)
        if allowed != "unlimited" and count > allowed:
            hosts = [r.host for _, records in task.attempts() for r in records if isinstance(r, Started)]
            return partial(_raise, GaveUpError(reason, allowed, list(dict.fromkeys(hosts))))
    return None


def _raise(error: CebctlError, *_: object) -> None:
    raise error


def count_ends(task: ArrayTask) -> Counter[Reason]:
    """Count the attempts of this submission by the reason of their end."""
    counts: Counter[Reason] = Counter()
    for _, records in task.attempts():
        match records[-1]:
            case Preempted(reason="timeout"):
                counts["timeout"] += 1
            case Preempted(reason="preempted" | ""):
                counts["preempted"] += 1
            case Failed() | Died():
                counts["failed"] += 1
            case Started() | Preempted(reason="superseded"):  # no end recorded, or by a node that was cut off
                counts["node_failure"] += 1
    return counts


def should_requeue(task: ArrayTask, end: runner.End | Died) -> bool:
    """Return whether the array task should start again after this end."""
    match end:
        case Preempted(reason=reason):
            # Not if the user cancelled it, nor if a newer start already does its work (superseded).
            return reason in ("timeout", "preempted", "")
        case Failed(kind=kind):
            return kind not in PERMANENT_FAILURES and count_ends(task)["failed"] <= task.retries.failed
        case Died():
            return count_ends(task)["failed"] <= task.retries.failed
        case _:
            return False


def requeue(task: ArrayTask) -> int:
    """Ask Slurm to requeue the array task, unless Slurm has requeued or is ending it; return the exit code."""
    try:
        state, restarts, _ = client.job_state(task.job)
        if state == "RUNNING" and restarts == task.restart:
            client.requeue(task.job)
    except CebctlError as error:
        print(f"could not be requeued, `cebctl submit` will go on with it: {error}", file=sys.stderr)
    return EXIT_REQUEUE


def stop_reason(task: ArrayTask, stop_request: StopRequest) -> str:
    """Return why Slurm asked the array task to stop, as a word for `Preempted.reason`."""
    try:
        state, restarts, left = client.job_state(task.job)
    except CebctlError:
        state, restarts, left = "", task.restart, None
    if restarts > task.restart:
        return "preempted"
    if signal.SIGTERM not in stop_request.received:  # with a grace time, a preemption may send the user signal alone
        return "timeout" if not state or (left is not None and left <= NOTICE_SECONDS) else "preempted"
    if state == "COMPLETING" and client.is_preempted(task.job):  # a cancelled job is in this state for a moment, too
        return "preempted"
    if state in ("CANCELLED", "COMPLETING", "FAILED", ""):
        return "cancelled"
    return "timeout" if left == 0 else "preempted"


def record_death(task: ArrayTask, code: int) -> int:
    """Record the death of an attempt that ended without a record of its own; return the exit code of the job.

    The batch script calls this after srun, with srun's exit code.
    """
    past = task.attempts()
    own = [(number, records) for number, records in past if _is_start(records[0], task)]
    if own and (isinstance(own[-1][1][-1], (*TERMINAL, Preempted, Died)) or _is_alive(task, own[-1][0])):
        return code
    if own and own[-1][0] < past[-1][0]:  # a newer start does the work
        return code
    # Rank 0 printed why it did not begin. srun then kills the waiting ranks, and exits with the signal's code.
    if not own and (code in (0, EXIT_REFUSED) or _missing_prerequisite(task)):
        return code
    number = own[-1][0] if own else task.paths.next_attempt(task.stage)
    died = Died(reason=_death(code, begun=bool(own)))
    with Journal(task.paths.journal(task.stage, number)) as journal:
        if not own:
            head = runner.start_record(task.paths, task.stage, number, task.submission, task.claim)
            journal.write(msgspec.structs.replace(head, job=task.job, restart=task.restart))
        journal.write(died)
    return requeue(task) if should_requeue(task, died) else code or 1


def _is_start(record: LifecycleRecord, task: ArrayTask) -> bool:
    return isinstance(record, Started) and (record.job, record.restart) == (task.job, task.restart)


def _is_alive(task: ArrayTask, attempt: int) -> bool:
    """Whether the attempt still runs although srun has ended: srun abandons it when its node is cut off."""
    lease_file = task.paths.lease(task.stage)
    holder = lease.read_holder(lease_file)
    return holder is not None and holder.attempt == attempt and lease.is_held(lease_file) is not False


def _death(code: int, *, begun: bool) -> str:
    when = "" if begun else " before it began: see its array's log"
    if code > 128 and code - 128 in set(signal.Signals):
        return processes.describe_signal(code - 128) + when
    return f"ended with exit code {code} and without a word{when}"


def main(arguments: Sequence[str]) -> int:
    """Run the command line of the module's docstring."""
    folder, submission, array, *ended = arguments
    file_ownership.restrict_umask(Path(folder))
    task = from_environment(Home(Path(folder)), submission, array)
    if task is None:
        print(f"{submission}: the claim of this task was given back: nothing to do")
        return EXIT_REFUSED
    if ended:
        return record_death(task, int(ended[1]))
    _stop_request.find_reason = lambda stop_request: stop_reason(task, stop_request)
    rank = int(os.environ.get("SLURM_PROCID") or 0)
    return run_other_rank(task, _stop_request, rank) if rank else run_rank_zero(task, _stop_request)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
