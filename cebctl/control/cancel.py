"""Cancelling what is under way: the claims are given back in a journal, then the jobs are told.

In this order, so that a job which starts in between, or is told too late, finds its claim gone and does nothing.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cebctl.control.states import RunStatus, StageStatus
from cebctl.control.survey import facts, survey
from experiments.errors import UnreachableError
from experiments.matrix import Matrix
from jobs import lease, slurm
from jobs.home import Home, Stage
from jobs.journal import NOBODY, Journal, Released, Submitted
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


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled."""

    targets: tuple[Target, ...]
    out_of_reach: tuple[str, ...] = ()
    """Other machines on which local workers go on with what they are at."""

    def stages(self, stage: Stage) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.stage == stage})

    @property
    def running(self) -> int:
        return len({one.claim.run_id for one in self.targets if one.stage.state == "running"})


def find(matrix: Matrix, store: Store, home: Home) -> list[Target]:
    """What `cancel` would cancel."""
    runs = survey(matrix, store, home)
    claims = facts(matrix, store, home).claims
    return [
        Target(run, stage, claim)
        for run in runs
        for stage in run.stages
        if stage.state in ("queued", "running")
        for claim in claims.get((run.planned.run_id, stage.stage), ())
    ]


def cancel(matrix: Matrix, store: Store, home: Home) -> Cancelled:
    """Cancel every stage of the matrix's runs that waits or runs.

    Raises UnreachableError if Slurm does not answer: before anything is done, or, as the message then says, behind it.
    """
    with store.exclusive():
        targets = find(matrix, store, home)
        if not targets:
            return Cancelled(())
        ids = _in_queue(targets)
        _give_back(matrix, targets, home)
        ingest(store, home)
    out_of_reach = [host for one in targets if one.claim.job is None and (host := _stop(one, home))]
    try:
        slurm.cancel(ids)
    except UnreachableError as error:
        names = ",".join(sorted({one.claim.job for one in targets if one.claim.job}))
        what = f"nothing of it will start, but what runs goes on: `scancel --name={names}` ends it ({error})"
        raise UnreachableError("Slurm", what) from error
    return Cancelled(tuple(targets), tuple(dict.fromkeys(out_of_reach)))


def _in_queue(targets: Sequence[Target]) -> list[str]:
    """Slurm's ids of the elements that have not ended."""
    wanted = {(one.claim.job, one.claim.array_index) for one in targets if one.claim.job}
    try:
        elements = slurm.queue({name for name, _ in wanted if name}) if wanted else []
    except UnreachableError as error:
        raise UnreachableError("nothing was cancelled", str(error)) from error
    return [one.job for one in elements if (one.name, one.index) in wanted and not one.final]


def _give_back(matrix: Matrix, targets: Sequence[Target], home: Home) -> None:
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    user = getpass.getuser()
    path = str(matrix.path.absolute())
    with Journal(home.submission(name)) as journal:
        journal.write(
            Submitted(name=name, matrix=matrix.name, matrix_path=path, executor=NOBODY, code="", user=user,
                      host=socket.gethostname()),
            *(Released(submission=one.claim.submission, run_id=one.claim.run_id, stage=one.claim.stage,
                       reason=f"cancelled by {user}") for one in targets),
        )  # fmt: skip


def _stop(target: Target, home: Home) -> str | None:
    """Ask the process of a local worker that is at it to stop; its machine, if that is another one."""
    held = lease.holder(home.run(target.claim.run_id).lease(target.stage.stage))
    process = Process.parse(held.process) if held and held.submission == target.claim.submission else None
    alive = process.alive() if process and target.stage.state == "running" else False
    if process is None or alive is False:
        return None
    if alive is None:
        return process.host
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    return None
