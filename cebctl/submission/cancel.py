"""Cancelling what is under way: the claims are given back in a journal, then the jobs are told.

In this order, so that a job which starts in between, or is told too late, finds its claim gone and does nothing.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cebctl.status.collect import load_observations, run_ids_with_dependencies
from cebctl.status.liveness import array_ids
from cebctl.status.slurm_queue import Key
from cebctl.status.states import RunStatus, StageStatus, derive_statuses
from cebctl.submission.submit import release_record, submission_record
from experiments.errors import UnreachableError
from experiments.matrix.planned_run import Matrix
from jobs.attempt import lease
from jobs.journal.files import Journal
from jobs.journal.ownership import ensure_home_id
from jobs.journal.records import NOBODY
from jobs.paths import Home, Stage, new_submission
from jobs.processes import Process
from jobs.slurm import client
from jobs.slurm.client import TaskStatus
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
        """Whether this user submitted it, or nobody knows who."""
        return self.claim.submitted_by in ("", getpass.getuser())


@dataclass(frozen=True)
class Cancellation:
    """What was cancelled."""

    targets: tuple[CancelTarget, ...]
    """What will not start any more, or was told to stop: on a cluster, what Slurm does not run on with."""
    out_of_reach: tuple[str, ...] = ()
    """Where what runs goes on: on other machines, as another user, or in a job that Slurm did not end."""
    others: Mapping[str, int] = field(default_factory=dict)
    """How many stages of other users were left alone, by user."""

    def stages(self, stage: Stage) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.stage == stage})

    @property
    def running(self) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.state == "running"})


def find_targets(matrix: Matrix, store: Store, home: Home) -> list[CancelTarget]:
    """What waits or runs, whosever it is."""
    known = load_observations(run_ids_with_dependencies(matrix), store, home)
    return [
        CancelTarget(run, stage, claim)
        for run in derive_statuses(matrix, known)
        for stage in run.stages
        if stage.state in ("queued", "running")
        for claim in known.claims.get((run.planned.run_id, stage.stage), ())
    ]


def cancel(matrix: Matrix, store: Store, home: Home, *, others: bool = False) -> Cancellation:
    """Cancel every stage of the matrix's runs that waits or runs; those of `others` only if asked to.

    Raises UnreachableError if Slurm does not answer: before anything is done, or, as the message then says, behind it.
    """
    with store.exclusive():
        found = find_targets(matrix, store, home)
        left = Counter(one.claim.submitted_by for one in found if not (one.is_own or others))
        at_work = [(one, _process(one, home)) for one in found if one.is_own or others]
        forbidden = [(one, process) for one, process in at_work if process and _forbidden(process)]
        goes_on = [f"{process.host} as {one.claim.submitted_by}'s process" for one, process in forbidden]
        at_work = [(one, process) for one, process in at_work if not (process and _forbidden(process))]
        targets = [one for one, _ in at_work]
        if not targets:
            return Cancellation((), tuple(dict.fromkeys(goes_on)), left)
        try:
            elements = _elements(targets)
        except UnreachableError as error:
            raise UnreachableError("nothing was cancelled", str(error)) from error
        _give_back(matrix, targets, home)
        ingest(store, home)
    going_on = {number: where for number, (_, process) in enumerate(at_work) if process and (where := _stop(process))}
    going_on |= _end(targets, elements)
    confirmed = tuple(one for number, one in enumerate(targets) if number not in going_on)
    return Cancellation(confirmed, tuple(dict.fromkeys([*goes_on, *going_on.values()])), left)


def _end(targets: Sequence[CancelTarget], before: Mapping[Key, TaskStatus]) -> dict[int, str]:
    """Have Slurm end the targets, as it knew them before. Return where those, by number, go on that it did not end.

    Raises UnreachableError if Slurm does not answer.
    """
    jobs = [element.job for element in before.values() if _is_alive(element)]
    refusal = ""
    try:
        client.cancel(jobs)
    except UnreachableError as error:
        refusal = f" ({error})"
    try:
        after = _elements(targets) if jobs else {}
    except UnreachableError as error:
        what = f"nothing of it will start, but what runs may go on: `scancel {' '.join(jobs)}` ends it ({error})"
        raise UnreachableError("Slurm", what) from error
    going_on = {}
    for number, target in enumerate(targets):
        name, key = target.run.planned.name, _key(target)
        if key in after and _is_alive(after[key]):
            going_on[number] = f"Slurm as job {after[key].job}, {name}{refusal}"
        elif key is not None and key not in before and target.stage.state == "running":
            going_on[number] = f"some node, though Slurm knows no job of {key[0]}_{key[1]}: {name}"
    return going_on


def _is_alive(element: TaskStatus) -> bool:
    """Whether it has not ended, and is not being ended."""
    return not (element.is_final or element.is_ending)


def _elements(targets: Sequence[CancelTarget]) -> dict[Key, TaskStatus]:
    """Return what Slurm knows of the targets' elements, whatever they are called. Raises UnreachableError."""
    wanted = {key for target in targets if (key := _key(target))}
    if not wanted:
        return {}
    ids = array_ids(target.claim for target in targets)
    elements = [*client.query_squeue({name for name, _ in wanted}), *client.query_squeue_by_ids(ids)]
    return {key: element for element in elements if (key := (element.name, element.index)) in wanted}


def _key(target: CancelTarget) -> Key | None:
    job, index = target.claim.job, target.claim.array_index
    return None if job is None or index is None else (job, index)


def _give_back(matrix: Matrix, targets: Sequence[CancelTarget], home: Home) -> None:
    name = new_submission()
    reason = f"cancelled by {getpass.getuser()}"
    with Journal(home.submission(name)) as journal:
        journal.write(
            submission_record(name, matrix, NOBODY, home=ensure_home_id(home)),
            *(release_record(one.claim.submission, one.claim, reason) for one in targets),
        )


def _process(target: CancelTarget, home: Home) -> Process | None:
    """The process of a local worker that is at it."""
    if target.claim.job is not None or target.stage.state != "running":
        return None
    held = lease.read_holder(home.run(target.claim.run_id).lease(target.stage.stage))
    return Process.parse(held.process) if held and held.submission == target.claim.submission else None


def _forbidden(process: Process) -> bool:
    """Whether it is another user's, who alone can stop it."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return bool(process.is_alive())
    except ProcessLookupError:
        pass
    return False


def _stop(process: Process) -> str | None:
    """Ask it to stop; where it goes on, if it can't be asked."""
    alive = process.is_alive()
    if alive is None:
        return f"{process.host}, which can't be reached from here: call `cebctl cancel` there"
    if alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    return None
