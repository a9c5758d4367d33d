"""Liveness of claims and attempts, by the processes of this machine and the jobs of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from cebctl.status.slurm_queue import Key, Queue, query_queue
from cebctl.status.states import UNFINISHED, RunStage
from jobs.attempt import lease
from jobs.paths import Home
from jobs.processes import Process
from store.row_types import AttemptRow, ClaimRow


def array_ids(claims: Iterable[ClaimRow]) -> dict[str, str]:
    """Return Slurm's ids of the arrays that work on the claims, by name."""
    return {worker.job: worker.executor_id for row in claims for worker in row.workers if worker.job == row.job}


class Liveness:
    """The liveness of processes and of the cluster's jobs, each looked up once and before any state is derived from it.

    A state that was read before its worker was looked for may be older than the worker's end: a run that has just
    succeeded would look abandoned. So `look_up` answers for everything that the rows name, and the caller reads them
    again where something is gone.
    """

    def __init__(self, home: Home, *, remember: bool = True) -> None:
        self._home, self._remember = home, remember
        self._leases: dict[tuple[str, str, int], bool | None] = {}
        self._processes: dict[str, bool | None] = {}
        self._keys: dict[tuple[str, str, str], Key] = {}
        """The array task of each claim, by submission, run and stage."""
        self._queue = Queue()

    def look_up(self, claims: Mapping[RunStage, Sequence[ClaimRow]], jobs: Mapping[RunStage, AttemptRow]) -> bool:
        """Look up every worker, lease and array task that the rows name; return whether any had not been before."""
        is_new = self._query_queue(claims, jobs)
        texts = {worker.executor_id for row in chain(*claims.values()) if row.job is None for worker in row.workers}
        attempts = {(job.run_id, job.stage, job.attempt): job for job in jobs.values() if job.state in UNFINISHED}
        is_new |= not (texts <= self._processes.keys() and attempts.keys() <= self._leases.keys())
        for text in texts:
            self._is_process_alive(text)
        for job in attempts.values():
            self._holds_lease(job)
        return is_new

    def _query_queue(self, claims: Mapping[RunStage, Sequence[ClaimRow]], jobs: Mapping[RunStage, AttemptRow]) -> bool:
        """Query the cluster, in as few calls as possible, for every claim that may not have ended; return whether it
        was necessary."""
        self._keys = {
            (row.submission, row.run_id, row.stage): (row.job, row.array_index)
            for rows in claims.values()
            for row in rows
            if row.job is not None and row.array_index is not None
        }
        open_keys = {
            self._keys[row.submission, *stage]
            for stage, rows in claims.items()
            for row in rows
            if (row.submission, *stage) in self._keys and not _has_succeeded(row, jobs.get(stage))
        }
        if open_keys <= self._queue.misses.keys():
            return False
        ids = array_ids(chain(*claims.values()))
        self._queue = query_queue(self._home, open_keys, ids, remember=self._remember)
        return True

    @property
    def warning(self) -> str:
        """Return why the state of the cluster is not up to date; empty if it is."""
        if not self._queue.error:
            return ""
        state = "jobs are shown as they were last seen" if self._queue.tasks else "nothing is known of jobs"
        return f"{self._queue.error}; {state}"

    def is_claim_alive(self, claim: ClaimRow, newest: AttemptRow | None) -> bool:
        """Whether somebody lives who will yet begin to work on the claim, given its stage's newest attempt.

        On this machine that is one of the submission's workers, unless an attempt of the submission exists already.
        A claim without workers counts as dead: its submitter is gone, or holds the lock that the next one waits for.
        On a cluster it is the array task until Slurm has ended it, because a task whose attempt has ended may be about
        to ask for a requeue.
        """
        was_attempted = newest is not None and newest.submission == claim.submission
        key = self._keys.get((claim.submission, claim.run_id, claim.stage))
        if key is None:
            return not was_attempted and any(
                self._is_process_alive(worker.executor_id) is not False for worker in claim.workers
            )
        task = self._queue.tasks.get(key)
        if task is None:
            may_begin = not was_attempted or (newest is not None and newest.state == "preempted")
            return may_begin and not self._queue.is_forgotten(key)
        return not task.is_final

    def is_job_alive(self, job: AttemptRow) -> bool | None:
        """Whether the attempt's process lives; None if it can't be known from here."""
        key = self._keys.get((job.submission or "", job.run_id, job.stage))
        task = self._queue.tasks.get(key) if key else None
        if task is not None:
            return not task.is_final and not task.is_waiting and task.restarts <= (job.restart or 0)
        if key is not None and not self._queue.is_forgotten(key):
            return True
        return self._holds_lease(job)

    def _holds_lease(self, job: AttemptRow) -> bool | None:
        key = (job.run_id, job.stage, job.attempt)
        if key not in self._leases:
            holder = lease.read_holder(self._home.run(job.run_id).lease(job.stage))
            is_holder = holder is not None and holder.attempt == job.attempt
            self._leases[key] = self._is_process_alive(holder.process) if is_holder and holder else False
        return self._leases[key]

    def slurm_reason(self, claim: ClaimRow, newest: AttemptRow | None) -> str:
        """Return Slurm's words on the claim's job; empty where it has none."""
        key = self._keys.get((claim.submission, claim.run_id, claim.stage))
        task = self._queue.tasks.get(key) if key else None
        if task is None:
            return ""
        if task.is_final and (newest is None or newest.submission != claim.submission):
            log = self._home.array_log(claim.submission, task.job)
            return f"{task.description or 'its job ended before it began'} (log: {log})"
        return task.description

    def _is_process_alive(self, text: str) -> bool | None:
        if text not in self._processes:
            process = Process.parse(text)
            self._processes[text] = process.is_alive() if process else False
        return self._processes[text]


def _has_succeeded(claim: ClaimRow, newest: AttemptRow | None) -> bool:
    """Whether the claim's work has succeeded, so that the cluster need not be asked.

    Any other end is not final, because the cluster may start the job again.
    """
    return newest is not None and newest.submission == claim.submission and newest.state == "succeeded"
