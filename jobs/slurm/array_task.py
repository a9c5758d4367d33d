"""One element of an array on the cluster: its claim, the signals, one attempt, and what comes after it.

    python -m jobs.slurm.array_task HOME SUBMISSION ARRAY             the work, by srun, once for each GPU
    python -m jobs.slurm.array_task HOME SUBMISSION ARRAY --ended N   behind it, in the batch script: srun's exit code

Of the tasks that srun starts, the first holds the lease and writes the journal; the others `follow` it.
Whether Slurm should start the element again is decided here, from the journals alone: for each reason as often as
the matrix's `retries` allow. Nothing waits on the login node for it.
"""

from __future__ import annotations

import signal

from jobs.signals import TIME_LIMIT, StopRequest  # first of all, and listening before the rest is imported

if __name__ == "__main__":
    _asked = StopRequest(TIME_LIMIT, signal.SIGTERM)

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
"""The exit code of an element that is to start again (EX_TEMPFAIL)."""
EXIT_REFUSED = 69
"""The exit code of an element that has said why it did not begin (EX_UNAVAILABLE)."""
PERMANENT_FAILURES = ("nan", "exploded", "input", "code", "retries")
"""The kinds of failures that another try would only repeat."""

NOTICE_SECONDS = 240
"""A user signal with more time left than this is no notice of the time limit, which comes 120 s ahead of it, or up to a
minute sooner."""

LOOK_SECONDS = 0.5
"""How often a task that follows looks whether the first one has begun."""
LAST_WORDS_SECONDS = 10.0
"""How long a task that failed waits for the first to say why, before its own end makes srun kill all."""

LifecycleRecord = Started | Preempted | Died | Succeeded | Failed
"""The records that say how an attempt began and ended."""
Reason = Literal["preempted", "timeout", "node_failure", "failed"]


class GaveUpError(CebctlError):
    """A stage was started as often as its `retries` allow."""

    kind = "retries"

    def __init__(self, reason: str, allowed: object, hosts: Sequence[str]) -> None:
        where = f" (on {', '.join(hosts)})" if hosts else ""
        super().__init__(f"gave up: {reason.replace('_', ' ')} more than {allowed} times{where}; see `retries`")


@dataclass(frozen=True)
class ArrayTask:
    """What an element is to do, and which start of which job this is."""

    home: Home
    submission: Submitted
    claim: Claim
    retries: Retries
    job: str
    """Slurm's id of the element."""
    restart: int

    @property
    def stage(self) -> Stage:
        return self.claim.stage

    @property
    def paths(self) -> RunPaths:
        return self.home.run(self.claim.run_id, self.claim.training)

    def attempts(self) -> list[tuple[int, list[LifecycleRecord]]]:
        """The numbers of this submission's attempts at the stage and their records, metrics apart."""
        found = []
        for number in self.paths.attempts(self.stage):
            kept = [r for r in attempt_records(self.paths, self.stage, number) if isinstance(r, LifecycleRecord)]
            if kept and isinstance(kept[0], Started) and kept[0].submission == self.submission.name:
                found.append((number, kept))
        return found


def from_environment(home: Home, submission: str, array: str) -> ArrayTask | None:
    """The element this process runs, by the variables that Slurm sets; None if its claim was given back since."""
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
        raise CebctlError(f"{home.submission(submission)}: has no claim for element {index} of {array}")
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
    restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    element = ArrayTask(home, submitted, claim, retries, job, restart)
    gone = is_claim_released(home, submission, claim.run_id, claim.stage)  # taken for dead, or cancelled
    return None if gone else element


def run_rank_zero(element: ArrayTask, asked: StopRequest, payload: runner.Work | None = None) -> int:
    """Run one attempt; the exit code. 0 alone lets start what depends on this element's success."""
    stage, paths = element.stage, element.paths
    past = element.attempts()
    if any(isinstance(found[-1], Succeeded) for _, found in past):
        print(f"{paths.folder}: {stage} has ended before")
        return 0
    if past and isinstance(failure := past[-1][1][-1], Failed) and not should_requeue(element, failure):
        print(f"{paths.folder}: {stage} has ended before: {failure}")
        return EXIT_REFUSED
    if lacking := _missing_prerequisite(element):
        print(lacking)
        return EXIT_REFUSED
    processes.redirect_output(paths.log(stage, paths.next_attempt(stage)))
    end = runner.run_attempt(
        element.home,
        element.submission,
        element.claim,
        stage,
        _refusal(element) or payload,
        runner.JobStart(element.job, element.restart, asked),
    )
    if isinstance(end, Succeeded):
        return 0
    if end is None:
        print("another attempt, a newer one, is at work")
        return EXIT_REFUSED
    return requeue(element) if should_requeue(element, end) else 1


def _missing_prerequisite(element: ArrayTask) -> str:
    """Which run would have to be trained before there is anything to do; empty where none would."""
    needed = element.paths if element.stage == "evaluate" else runner.extended_run(element.claim, element.paths)
    late = element.stage == "train" and needed is not None and needed.generation < element.claim.extended
    if needed is None or (is_trained(needed) and not late):
        return ""
    purpose = "evaluate" if element.stage == "evaluate" else "extend"
    return f"{needed.folder}: is not trained{' again' * late}, so that there is nothing to {purpose}"


def run_other_rank(element: ArrayTask, asked: StopRequest, rank: int) -> int:
    """The part of a task that is not the first of its job: the same work as soon as that one has begun; the exit code.

    How an attempt ended is the first one's to say, and its exit code decides: asked to stop, all tasks do so together.
    """
    while (attempt := _begun(element)) is None:
        if any(isinstance(record, Succeeded) for _, found in element.attempts() for record in found):
            return 0
        time.sleep(LOOK_SECONDS)
    processes.redirect_output(element.paths.log(element.stage, attempt).with_suffix(f".rank{rank}.log"))
    if runner.join_attempt(element.submission, element.claim, element.stage, element.paths, asked):
        return 0
    time.sleep(LAST_WORDS_SECONDS)
    return 1


def _begun(element: ArrayTask) -> int | None:
    """The number of the attempt that the first task of this start has begun."""
    for number in element.paths.attempts(element.stage)[-1:]:
        head = read_head(element.paths, element.stage, number)
        if head is not None and _is_start(head, element):
            return number
    return None


def _refusal(element: ArrayTask) -> runner.Work | None:
    """Work that only says that there were enough attempts; None if there were not."""
    counts = count_ends(element)
    for reason, count in counts.items():
        allowed = getattr(element.retries, reason)
        if allowed != "unlimited" and count > allowed:
            hosts = [r.host for _, found in element.attempts() for r in found if isinstance(r, Started)]
            error = GaveUpError(reason, allowed, list(dict.fromkeys(hosts)))

            def refuse(*_: object, error: GaveUpError = error) -> None:
                raise error

            return refuse
    return None


def count_ends(element: ArrayTask) -> Counter[Reason]:
    """Why the attempts of this submission came to their ends, each counted once."""
    found: Counter[Reason] = Counter()
    for _, kept in element.attempts():
        match kept[-1]:
            case Preempted(reason="timeout"):
                found["timeout"] += 1
            case Preempted(reason="preempted" | ""):
                found["preempted"] += 1
            case Failed() | Died():
                found["failed"] += 1
            case Started() | Preempted(reason="superseded"):  # without a word, or a word from a node that was cut off
                found["node_failure"] += 1
    return found


def should_requeue(element: ArrayTask, end: runner.End | Died) -> bool:
    """Whether the element should start again behind this end."""
    match end:
        case Preempted(reason=reason):
            # What is cancelled is not wanted; a newer start has the work of a superseded one already.
            return reason in ("timeout", "preempted", "")
        case Failed(kind=kind):
            return kind not in PERMANENT_FAILURES and count_ends(element)["failed"] <= element.retries.failed
        case Died():
            return count_ends(element)["failed"] <= element.retries.failed
        case _:
            return False


def requeue(element: ArrayTask) -> int:
    """Ask Slurm to requeue the element, unless it did so itself or is ending it; the exit code."""
    try:
        state, restarts, _ = client.job_state(element.job)
        if state == "RUNNING" and restarts == element.restart:
            client.requeue(element.job)
    except CebctlError as error:
        print(f"could not be requeued, `cebctl submit` will go on with it: {error}", file=sys.stderr)
    return EXIT_REQUEUE


def stop_reason(element: ArrayTask, asked: StopRequest) -> str:
    """Why Slurm asked it to stop, for `Preempted.reason`."""
    try:
        state, restarts, left = client.job_state(element.job)
    except CebctlError:
        state, restarts, left = "", element.restart, None
    if restarts > element.restart:
        return "preempted"
    if signal.SIGTERM not in asked.received:  # preemption may say no more than this, where there is a grace time
        return "timeout" if not state or (left is not None and left <= NOTICE_SECONDS) else "preempted"
    if state == "COMPLETING" and client.is_preempted(element.job):  # so is what is cancelled, for a moment
        return "preempted"
    if state in ("CANCELLED", "COMPLETING", "FAILED", ""):
        return "cancelled"
    return "timeout" if left == 0 else "preempted"


def record_death(element: ArrayTask, code: int) -> int:
    """Behind the work: if it ended without a word, write one in its place; the exit code of the job."""
    past = element.attempts()
    ours = [(n, found) for n, found in past if _is_start(found[0], element)]
    if ours and (isinstance(ours[-1][1][-1], (*TERMINAL, Preempted, Died)) or _lives(element, ours[-1][0])):
        return code
    if ours and ours[-1][0] < past[-1][0]:  # a newer start has the work
        return code
    # It said itself why it did not begin; of several tasks srun kills those that wait for the first to, and says that.
    if not ours and (code in (0, EXIT_REFUSED) or _missing_prerequisite(element)):
        return code
    number = ours[-1][0] if ours else element.paths.next_attempt(element.stage)
    died = Died(reason=_death(code, begun=bool(ours)))
    with Journal(element.paths.journal(element.stage, number)) as journal:
        if not ours:
            head = runner.start_record(element.paths, element.stage, number, element.submission, element.claim)
            journal.write(msgspec.structs.replace(head, job=element.job, restart=element.restart))
        journal.write(died)
    return requeue(element) if should_requeue(element, died) else code or 1


def _is_start(record: LifecycleRecord, element: ArrayTask) -> bool:
    return isinstance(record, Started) and (record.job, record.restart) == (element.job, element.restart)


def _lives(element: ArrayTask, attempt: int) -> bool:
    """Whether the attempt is at work all the same: srun leaves it to itself when its node is cut off."""
    lease_file = element.paths.lease(element.stage)
    holder = lease.read_holder(lease_file)
    return holder is not None and holder.attempt == attempt and lease.is_held(lease_file) is not False


def _death(code: int, *, begun: bool) -> str:
    when = "" if begun else " before it began: see its array's log"
    if code > 128 and code - 128 in set(signal.Signals):
        return processes.describe_signal(code - 128) + when
    return f"ended with exit code {code} and without a word{when}"


def main(arguments: Sequence[str]) -> int:
    """The command line above."""
    folder, submission, array, *rest = arguments
    file_ownership.restrict_umask(Path(folder))
    element = from_environment(Home(Path(folder)), submission, array)
    if element is None:
        print(f"{submission}: the claim of this element was given back: nothing to do")
        return EXIT_REFUSED
    if rest:
        return record_death(element, int(rest[1]))
    _asked.find_reason = lambda asked: stop_reason(element, asked)
    rank = int(os.environ.get("SLURM_PROCID") or 0)
    return run_other_rank(element, _asked, rank) if rank else run_rank_zero(element, _asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
