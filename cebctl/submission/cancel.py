"""Cancel what is under way: release the claims in a journal, then stop the jobs.

In this order, so that a job which starts in between, or is stopped too late, finds its claim gone and does nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cebctl.status.earlier_texts import stored_matrix
from cebctl.status.find_run import find_run_id
from cebctl.status.liveness import array_ids
from cebctl.status.matrix_status import collect_matrix_status
from cebctl.status.slurm_queue import Key
from cebctl.status.states import RunStatus, StageStatus
from cebctl.submission.submit import release_record, submission_record
from experiments.errors import InputError, UnreachableError, expected
from experiments.matrix.planned_run import Matrix
from jobs.attempt import lease
from jobs.file_ownership import login_name
from jobs.journal.files import Journal
from jobs.journal.ownership import ensure_home_id
from jobs.journal.records import NOBODY
from jobs.paths import Home, Stage, new_submission
from jobs.processes import Process
from jobs.slurm import client
from jobs.slurm.client import TaskStatus
from store import queries
from store.connect import Store
from store.ingest import ingest
from store.row_types import ClaimRow


@dataclass(frozen=True)
class CancelTarget:
    """One stage of one run that waits or runs, and a claim on it."""

    run: RunStatus
    stage: StageStatus
    claim: ClaimRow

    @property
    def is_own(self) -> bool:
        """Whether this user submitted it, or its submitter is unknown."""
        return self.claim.submitted_by in ("", login_name())

    @property
    def key(self) -> Key | None:
        """The array element that works on it; None for a local worker's."""
        job, index = self.claim.job, self.claim.array_index
        return None if job is None or index is None else (job, index)


@dataclass(frozen=True)
class Cancellation:
    """The outcome of `cancel`."""

    targets: tuple[CancelTarget, ...]
    """The stages that will not start any more, or were told to stop; on a cluster, those that Slurm does not run."""
    out_of_reach: tuple[str, ...] = ()
    """Where stages go on: on other machines, as another user, or in a job that Slurm did not end."""
    others: Mapping[str, int] = field(default_factory=dict)
    """How many stages of other users were left alone, by user."""

    def stages(self, stage: Stage) -> int:
        return len({target.claim.run_id for target in self.targets if target.stage.stage == stage})

    @property
    def running(self) -> int:
        return len({target.claim.run_id for target in self.targets if target.stage.state == "running"})


def find_targets(
    matrix: Matrix, store: Store, home: Home, submissions: Collection[str] | None = None
) -> list[CancelTarget]:
    """Return the stages that wait or run, of every user; those that some submissions claim alone, if any are given."""
    status = collect_matrix_status(matrix, store, home)
    return [
        CancelTarget(run, stage, claim)
        for run in status.runs
        for stage in run.stages
        if stage.state in ("queued", "running")
        for claim in status.observations.claims.get((run.planned.run_id, stage.stage), ())
        if submissions is None or claim.submission in submissions
    ]


def matrix_of_submissions(names: Collection[str], store: Store, home: Home) -> Matrix:
    """Return a matrix of the runs that some submissions claimed. Raises InputError for a name that is none's."""
    ingest(store, home)
    paths = {row.name: row.matrix_path for row in queries.submissions(store) if row.executor != NOBODY}
    if unknown := [name for name in names if name not in paths]:
        wrong = f"none of the {len(paths)} of {home.folder} is called so"
        raise InputError(f"submission {unknown[0]}", wrong, expected(sorted(paths)[-8:], unknown[0]))
    claims = [claim for claim in queries.open_claims(store) if claim.submission in names]
    return stored_matrix(Path(paths[max(names)]), claims, store)


def matrix_of_runs(texts: Collection[str], store: Store, home: Home) -> Matrix:
    """Return a matrix of the runs of the home with these ids or names. Raises InputError for a text that is none's."""
    ingest(store, home)
    runs = {row.run_id: (row.label, row.spec) for row in queries.runs(store)}
    run_ids = [find_run_id(text, runs, home.folder) for text in texts]
    paths = {row.name: row.matrix_path for row in queries.submissions(store)}
    claims = queries.open_claims(store, run_ids)
    path = paths.get(max((claim.submission for claim in claims), default=""), "")
    return stored_matrix(Path(path), claims, store)


def cancel(
    matrix: Matrix, store: Store, home: Home, *, others: bool = False, submissions: Collection[str] | None = None
) -> Cancellation:
    """Cancel every stage of the matrix's runs that waits or runs, or that some submissions claim; with `others` also
    those of other users.

    Raises UnreachableError if Slurm does not answer: before anything is done or, as the message then says, after.
    """
    with store.exclusive():
        # Looked for under the lock, whatever the user was asked about: a `submit` may have added stages since.
        targets = find_targets(matrix, store, home, submissions)
        left_alone = Counter(target.claim.submitted_by for target in targets if not (target.is_own or others))
        workers = [(target, _process(target, home)) for target in targets if target.is_own or others]
        forbidden = [(target, process) for target, process in workers if process and _is_forbidden(process)]
        out_of_reach = [f"{process.host} as {target.claim.submitted_by}'s process" for target, process in forbidden]
        workers = [worker for worker in workers if worker not in forbidden]
        targets = [target for target, _ in workers]
        if not targets:
            return Cancellation((), tuple(dict.fromkeys(out_of_reach)), left_alone)
        try:
            elements = _query_elements(targets)
        except UnreachableError as error:
            raise UnreachableError("nothing was cancelled", str(error)) from error
        _release_claims(matrix, targets, home)
        ingest(store, home)
    going_on = {number: where for number, (_, process) in enumerate(workers) if process and (where := _stop(process))}
    going_on |= _end_jobs(targets, elements)
    confirmed = tuple(target for number, target in enumerate(targets) if number not in going_on)
    return Cancellation(confirmed, tuple(dict.fromkeys([*out_of_reach, *going_on.values()])), left_alone)


def _end_jobs(targets: Sequence[CancelTarget], before: Mapping[Key, TaskStatus]) -> dict[int, str]:
    """End the Slurm jobs of the targets, whose elements `before` describes. Return where those that Slurm did not end
    go on, by the numbers of the targets.

    Raises UnreachableError if Slurm does not answer.
    """
    jobs = [element.job for element in before.values() if _is_alive(element)]
    refusal = ""
    try:
        client.cancel(jobs)
    except UnreachableError as error:
        refusal = f" ({error})"
    try:
        after = _query_elements(targets) if jobs else {}
    except UnreachableError as error:
        message = f"nothing of it will start, but what runs may go on: `scancel {' '.join(jobs)}` ends it ({error})"
        raise UnreachableError("Slurm", message) from error
    going_on = {}
    for number, target in enumerate(targets):
        name, key = target.run.planned.name, target.key
        if key in after and _is_alive(after[key]):
            going_on[number] = f"Slurm as job {after[key].job}, {name}{refusal}"
        elif key is not None and key not in before and target.stage.state == "running":
            going_on[number] = f"some node, though Slurm knows no job of {key[0]}_{key[1]}: {name}"
    return going_on


def _is_alive(element: TaskStatus) -> bool:
    """Whether it has not ended, and is not being ended."""
    return not (element.is_final or element.is_ending)


def _query_elements(targets: Sequence[CancelTarget]) -> dict[Key, TaskStatus]:
    """Return what Slurm knows of the targets' elements, by whatever name they have now. Raises UnreachableError."""
    keys = {key for target in targets if (key := target.key)}
    if not keys:
        return {}
    ids = array_ids(target.claim for target in targets)
    elements = [*client.query_squeue({name for name, _ in keys}), *client.query_squeue_by_ids(ids)]
    return {key: element for element in elements if (key := (element.name, element.index)) in keys}


def _release_claims(matrix: Matrix, targets: Sequence[CancelTarget], home: Home) -> None:
    name = new_submission()
    reason = f"cancelled by {login_name()}"
    with Journal(home.submission(name)) as journal:
        journal.write(
            submission_record(name, matrix, NOBODY, home=ensure_home_id(home)),
            *(release_record(target.claim.submission, target.claim, reason) for target in targets),
        )


def _process(target: CancelTarget, home: Home) -> Process | None:
    """Return the process of the local worker that runs the stage; None if none does."""
    if target.claim.job is not None or target.stage.state != "running":
        return None
    holder = lease.read_holder(home.run(target.claim.run_id).lease(target.stage.stage))
    return Process.parse(holder.process) if holder and holder.submission == target.claim.submission else None


def _is_forbidden(process: Process) -> bool:
    """Whether it is another user's, who alone can stop it."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return bool(process.is_alive())
    except ProcessLookupError:
        pass
    return False


def _stop(process: Process) -> str | None:
    """Ask it to stop; return where it goes on if it can't be asked."""
    alive = process.is_alive()
    if alive is None:
        return f"{process.host}, which can't be reached from here: call `cebctl cancel` there"
    if alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    return None
