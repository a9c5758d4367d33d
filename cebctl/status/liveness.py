"""Who lives: the processes of this machine, and the jobs of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from cebctl.status.slurm_queue import Key, Queue, query_queue
from cebctl.status.states import RunStage
from jobs.attempt import lease
from jobs.paths import Home
from jobs.processes import Process
from store.row_types import AttemptRow, ClaimRow


def array_ids(claims: Iterable[ClaimRow]) -> dict[str, str]:
    """Return Slurm's ids of the arrays that work on the claims, by name."""
    return {worker.job: worker.executor_id for row in claims for worker in row.workers if worker.job == row.job}


class Liveness:
    """Asks once for each process, and once for all jobs of the cluster."""

    def __init__(self, home: Home, *, remember: bool = True) -> None:
        self._home, self._remember = home, remember
        self._jobs: dict[tuple[str, str, int], bool | None] = {}
        self._processes: dict[str, bool | None] = {}
        self._elements: dict[tuple[str, str, str], Key] = {}
        """By submission, run and stage."""
        self._queue = Queue()

    def query_queue(self, claims: Mapping[RunStage, Sequence[ClaimRow]], jobs: Mapping[RunStage, AttemptRow]) -> None:
        """Ask the cluster, in as few calls as possible, of every claim that may not be at its end."""
        self._elements = {
            (row.submission, row.run_id, row.stage): (row.job, row.array_index)
            for rows in claims.values()
            for row in rows
            if row.job is not None and row.array_index is not None
        }
        open_ones = {
            self._elements[row.submission, *key]
            for key, rows in claims.items()
            for row in rows
            if (row.submission, *key) in self._elements and not _ended(row, jobs.get(key))
        }
        if not open_ones <= self._queue.misses.keys():
            self._queue = query_queue(
                self._home, open_ones, array_ids(chain(*claims.values())), remember=self._remember
            )

    @property
    def warning(self) -> str:
        """Why what is known of the cluster is not fresh; empty if it is."""
        if not self._queue.error:
            return ""
        known = "jobs are shown as they were last seen" if self._queue.elements else "nothing is known of jobs"
        return f"{self._queue.error}; {known}"

    def is_claim_alive(self, claim: ClaimRow, newest: AttemptRow | None) -> bool:
        """Whether somebody lives who will yet begin to work on the claim, whose stage's newest attempt is given.

        Locally: one of the submission's workers, unless it has tried. Without any, its submitter is still launching
        them, under the lock that the next one waits for, or is gone. On a cluster: its element, as long as it has not
        ended there: one whose attempt has may be about to ask for another start.
        """
        ours = newest is not None and newest.submission == claim.submission
        key = self._elements.get((claim.submission, claim.run_id, claim.stage))
        if key is None:
            return not ours and any(self._process(worker.executor_id) is not False for worker in claim.workers)
        element = self._queue.elements.get(key)
        if element is None:
            may_begin = not ours or (newest is not None and newest.state == "preempted")
            return may_begin and not self._queue.is_forgotten(key)
        return not element.is_final

    def is_job_alive(self, job: AttemptRow) -> bool | None:
        """Whether the attempt's process lives; None if it can't be known."""
        key = self._elements.get((job.submission or "", job.run_id, job.stage))
        element = self._queue.elements.get(key) if key else None
        if element is not None:
            return not element.is_final and not element.is_waiting and element.restarts <= (job.restart or 0)
        if key is not None and not self._queue.is_forgotten(key):
            return True
        return self._holds_lease(job)

    def _holds_lease(self, job: AttemptRow) -> bool | None:
        at = (job.run_id, job.stage, job.attempt)
        if at not in self._jobs:
            holder = lease.read_holder(self._home.run(job.run_id).lease(job.stage))
            ours = holder is not None and holder.attempt == job.attempt
            self._jobs[at] = self._process(holder.process) if ours and holder else False
        return self._jobs[at]

    def slurm_reason(self, claim: ClaimRow, newest: AttemptRow | None) -> str:
        """What the cluster says of the claim's job, in words."""
        key = self._elements.get((claim.submission, claim.run_id, claim.stage))
        element = self._queue.elements.get(key) if key else None
        if element is None:
            return ""
        if element.is_final and (newest is None or newest.submission != claim.submission):
            log = self._home.array_log(claim.submission, element.job)
            return f"{element.description or 'its job ended before it began'} (log: {log})"
        return element.description

    def _process(self, text: str) -> bool | None:
        if text not in self._processes:
            process = Process.parse(text)
            self._processes[text] = process.is_alive() if process else False
        return self._processes[text]


def _ended(claim: ClaimRow, newest: AttemptRow | None) -> bool:
    """Whether the claim's work has its terminal record, so that the cluster need not be asked: a success is one
    whatever the cluster says, a failure may be tried again by it."""
    return newest is not None and newest.submission == claim.submission and newest.state == "succeeded"
