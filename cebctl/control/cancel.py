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

from cebctl.control.states import RunStatus, StageStatus, statuses
from cebctl.control.submit import released, submitted
from cebctl.control.survey import facts
from experiments.errors import UnreachableError
from experiments.matrix import Matrix
from jobs import lease, slurm
from jobs.home import Home, Stage, new_submission
from jobs.journal import NOBODY, Journal
from jobs.processes import Process
from store.ingest import ingest
from store.opening import Store
from store.rows import ClaimRow


@dataclass(frozen=True)
class Target:
    """One stage of one run that waits or runs, and a claim on it."""

    run: RunStatus
    stage: StageStatus
    claim: ClaimRow

    @property
    def mine(self) -> bool:
        """Whether this user submitted it, or nobody knows who."""
        return self.claim.submitted_by in ("", getpass.getuser())


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled."""

    targets: tuple[Target, ...]
    out_of_reach: tuple[str, ...] = ()
    """Where local workers go on with what they are at: on other machines, or as another user."""
    others: Mapping[str, int] = field(default_factory=dict)
    """How many stages of other users were left alone, by user."""

    def stages(self, stage: Stage) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.stage == stage})

    @property
    def running(self) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.state == "running"})


def find(matrix: Matrix, store: Store, home: Home) -> list[Target]:
    """What waits or runs, whosever it is."""
    known = facts(matrix, store, home)
    return [
        Target(run, stage, claim)
        for run in statuses(matrix, known)
        for stage in run.stages
        if stage.state in ("queued", "running")
        for claim in known.claims.get((run.planned.run_id, stage.stage), ())
    ]


def cancel(matrix: Matrix, store: Store, home: Home, *, others: bool = False) -> Cancelled:
    """Cancel every stage of the matrix's runs that waits or runs; those of `others` only if asked to.

    Raises UnreachableError if Slurm does not answer: before anything is done, or, as the message then says, behind it.
    """
    with store.exclusive():
        found = find(matrix, store, home)
        left = Counter(one.claim.submitted_by for one in found if not (one.mine or others))
        at_work = [(one, _process(one, home)) for one in found if one.mine or others]
        forbidden = [(one, process) for one, process in at_work if process and _forbidden(process)]
        goes_on = [f"{process.host} as {one.claim.submitted_by}'s process" for one, process in forbidden]
        at_work = [(one, process) for one, process in at_work if not (process and _forbidden(process))]
        targets = [one for one, _ in at_work]
        if not targets:
            return Cancelled((), tuple(dict.fromkeys(goes_on)), left)
        ids = _in_queue(targets)
        _give_back(matrix, targets, home)
        ingest(store, home)
    goes_on += [where for _, process in at_work if process and (where := _stop(process))]
    try:
        slurm.cancel(ids)
    except UnreachableError as error:
        names = ",".join(sorted({one.claim.job for one in targets if one.claim.job}))
        what = f"nothing of it will start, but what runs goes on: `scancel --name={names}` ends it ({error})"
        raise UnreachableError("Slurm", what) from error
    return Cancelled(tuple(targets), tuple(dict.fromkeys(goes_on)), left)


def _in_queue(targets: Sequence[Target]) -> list[str]:
    """Slurm's ids of the elements that have not ended."""
    wanted = {(one.claim.job, one.claim.array_index) for one in targets if one.claim.job}
    try:
        elements = slurm.queue({name for name, _ in wanted if name}) if wanted else []
    except UnreachableError as error:
        raise UnreachableError("nothing was cancelled", str(error)) from error
    return [one.job for one in elements if (one.name, one.index) in wanted and not one.final]


def _give_back(matrix: Matrix, targets: Sequence[Target], home: Home) -> None:
    name = new_submission()
    reason = f"cancelled by {getpass.getuser()}"
    with Journal(home.submission(name)) as journal:
        journal.write(
            submitted(name, matrix, NOBODY),
            *(released(one.claim.submission, one.claim, reason) for one in targets),
        )


def _process(target: Target, home: Home) -> Process | None:
    """The process of a local worker that is at it."""
    if target.claim.job is not None or target.stage.state != "running":
        return None
    held = lease.holder(home.run(target.claim.run_id).lease(target.stage.stage))
    return Process.parse(held.process) if held and held.submission == target.claim.submission else None


def _forbidden(process: Process) -> bool:
    """Whether it is another user's, who alone can stop it."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return bool(process.alive())
    except ProcessLookupError:
        pass
    return False


def _stop(process: Process) -> str | None:
    """Ask it to stop; where it goes on, if it can't be asked."""
    alive = process.alive()
    if alive is None:
        return f"{process.host}, which can't be reached from here: call `cebctl cancel` there"
    if alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    return None
