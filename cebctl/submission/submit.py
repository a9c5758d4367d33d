"""Claim, then submit: what is missing, and only that."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cebctl.interrupts import uninterrupted
from cebctl.status.matrix_status import MatrixStatus, collect_matrix_status
from cebctl.status.rerun import Rerun, restrict_stages
from cebctl.status.states import RunStage, RunStatus, StageStatus, submittable_states
from cebctl.submission.executors import Order, Sender, Sent, claim
from experiments.atomic_files import write_atomic
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError
from experiments.matrix.planned_run import Matrix
from jobs import provenance, spec_file
from jobs.journal.files import Journal
from jobs.journal.ownership import ensure_home_id
from jobs.journal.records import Claim, Launched, Released, Submitted
from jobs.paths import Home, new_submission
from store.connect import Store
from store.ingest import ingest
from store.row_types import ClaimRow

UNDER_WAY = (
    "interrupted, but what was submitted is under way: `cebctl status {0}` shows it, `cebctl cancel {0}` stops it"
)


@dataclass(frozen=True)
class Submission:
    """What one call submitted."""

    name: str
    executor: str
    claims: tuple[Claim, ...]
    launched: tuple[Launched, ...]
    left_over: tuple[tuple[Claim, str], ...] = ()
    """What was claimed and given back at once, because the executor would not have it, and why."""
    error: CebctlError | None = None
    """The first that was met in sending."""
    at_once: int | None = None
    """How many of its jobs may run at a time."""


def due(
    runs: Iterable[RunStatus], *, retry_failed: bool, behind: Collection[str] = (), again: Rerun | None = None
) -> list[tuple[RunStatus, StageStatus]]:
    """What nobody does: every stage that is new or lost, and failed ones if asked; with `again`, only what that means.

    An evaluation is claimed with its training, or once that is done; never ahead of one that another
    submission holds, which claims its own evaluations. What needs another run (a benchmark, transfer; a run that
    extends it) is claimed once that run is trained, or where the executor can have it wait for that run, one of
    `behind`: a local worker that met it earlier would have to wait for another one, which may never come to it. So it
    is for a later `submit`; `submit --wait` is one itself.
    """
    offered = submittable_states(retry_failed=retry_failed)
    found: list[tuple[RunStatus, StageStatus]] = []
    for run in runs:
        if run.stages[0].parent_run_id and run.stages[0].parent_run_id not in behind:
            continue
        trained = run.stages[0].state == "done" or run.stages[0].state in offered
        for stage in run.stages:
            ready = [
                b for b in stage.missing if b not in stage.blocked_benchmarks or getattr(b, "source", None) in behind
            ]
            if stage.state in offered and (stage.stage == "train" or (trained and ready)):
                found.append((run, stage))
    return restrict_stages(found, again)


def held_back(runs: Iterable[RunStatus], submission: Submission | None = None) -> set[tuple[str, str]]:
    """Every run that waits, or has evaluations that do, with a run that it waits for and that is not trained yet; but
    for those that a submission has taken since, to wait on the cluster."""
    claims = submission.claims if submission else ()
    trains = {claim.run_id for claim in claims if claim.stage == "train"}
    attacks = {(claim.run_id, b.source) for claim in claims for b in claim.benchmarks if isinstance(b, Transfer)}
    return {
        (run.planned.run_id, other)
        for run in runs
        for stage in run.stages
        for other in stage.blocked_by
        if not (stage.stage == "train" and run.planned.run_id in trains) and (run.planned.run_id, other) not in attacks
    }


def submit(
    matrix: Matrix,
    store: Store,
    home: Home,
    sender: Sender,
    *,
    retry_failed: bool = False,
    only: Collection[str] | None = None,
    again: Rerun | None = None,
) -> tuple[Submission | None, MatrixStatus]:
    """Submit what is missing, or what is to be done `again`; return the submission, None if nothing is missing, and the
    status on which it was decided. See `prerequisites.check` first.

    With `only`, of the other runs nothing. What the executor does not take is given back: where it takes nothing, its
    error is raised.
    """
    name = new_submission()
    with store.exclusive():
        # Collected under the lock, whatever the caller has seen before: another `submit` may have claimed the same
        # stages since, and what both claimed would be done twice.
        status = collect_matrix_status(matrix, store, home, again=again)
        known = status.observations
        runs = [run for run in status.runs if only is None or run.planned.run_id in only]
        behind = sender.behind(runs, known, retry_failed=retry_failed)
        offered = due(runs, retry_failed=retry_failed, behind=behind, again=again)
        if not offered:
            return None, status
        later = _later(runs, offered) if again and again.train else []
        snapshot = provenance.freeze(home)
        orders = sender.orders(name, matrix, offered, known)
        claims = [one for order in orders for one in order.claims]
        waiting: list[tuple[Claim, str]] = []
        _write_specs(home, matrix, claims)
        with uninterrupted(UNDER_WAY.format(matrix.path)):
            with Journal(home.submission(name)) as journal:
                begun = submitted(name, matrix, sender.executor, snapshot.digest, snapshot.commit, ensure_home_id(home))
                journal.write(begun, *_given_back(claims, known.claims))
                journal.write(*(record for order in orders for record in order.records))
                for run in later:
                    wish = claim(matrix, run.planned, run.stages[0])
                    journal.write(
                        wish, released(name, wish, why := f"waits until {run.stages[0].parent_run_id} is trained")
                    )
                    waiting.append((wish, why))
                sent, left_over, error = _send(sender, orders, home, snapshot, journal, name)
            ingest(store, home)
    if error is not None and not sent:
        raise error
    submission = Submission(
        name,
        sender.executor,
        tuple(claim for one in sent for claim in one.claims),
        tuple(launched for one in sent for launched in one.launched),
        (*left_over, *waiting),
        error,
        sender.at_once,
    )
    return submission, status


def _later(runs: Iterable[RunStatus], offered: Iterable[tuple[RunStatus, StageStatus]]) -> list[RunStatus]:
    """Return the runs to be trained again that wait for one that is, where the executor can't have them do so. Their
    claims are journalled and given back at once, so that the next `submit` knows of them."""
    trains = {run.planned.run_id for run, stage in offered if stage.stage == "train"}
    awaited = ((run, run.stages[0]) for run in runs if run.planned.run_id not in trains)
    return [
        run for run, train in awaited if train.generation > 1 and train.state == "new" and train.parent_run_id in trains
    ]


def _send(
    sender: Sender, orders: Sequence[Order], home: Home, snapshot: provenance.Snapshot, journal: Journal, name: str
) -> tuple[list[Sent], list[tuple[Claim, str]], CebctlError | None]:
    """Send the orders one by one and journal what became of each: what was taken, what was left, the first error."""
    sent: list[Sent] = []
    left_over: list[tuple[Claim, str]] = []
    first: CebctlError | None = None
    for order in orders:
        try:
            one = sender.send(home, snapshot, name, order, sent)
        except CebctlError as error:
            first = first or error
            left = [] if sender.may_come_yet(error) else [(claim, str(error)) for claim in order.claims]
        else:
            sent.append(one)
            journal.write(*one.launched)
            taken = {(claim.run_id, claim.stage) for claim in one.claims}
            left = [(c, one.why_not) for c in order.claims if (c.run_id, c.stage) not in taken]
        left_over += left
        journal.write(*(released(name, claim, why) for claim, why in left))
    return sent, left_over, first


def submitted(
    name: str, matrix: Matrix, executor: str, code: str = "", commit: str | None = None, home: str = ""
) -> Submitted:
    """The record with which the journal of a submission begins, by this user on this machine."""
    return Submitted(
        name=name,
        matrix=matrix.name,
        matrix_path=str(matrix.path.absolute()),
        executor=executor,
        code=code,
        commit=commit,
        user=getpass.getuser(),
        host=socket.gethostname(),
        home=home,
    )


def _given_back(claims: Sequence[Claim], old: Mapping[RunStage, Sequence[ClaimRow]]) -> list[Released]:
    """The dead claims that the new ones replace."""
    return [
        released(row.submission, row, "nobody works on it any more")
        for claim in claims
        for row in old.get((claim.run_id, claim.stage), ())
    ]


def released(name: str, claim: Claim | ClaimRow, reason: str) -> Released:
    """The record by which the claim that the submission of this name has is given back."""
    return Released(submission=name, run_id=claim.run_id, stage=claim.stage, reason=reason)


def _write_specs(home: Home, matrix: Matrix, claims: Sequence[Claim]) -> None:
    """spec.json of every run that has none; another spec under the same identity is an error, never a merge."""
    claimed = {claim.run_id for claim in claims}
    for planned in matrix.runs:
        paths = home.run(planned.run_id)
        if planned.run_id not in claimed:
            continue
        if paths.spec.exists():
            spec_file.read(paths)
            continue
        paths.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(paths.spec, msgspec.json.format(msgspec.json.encode(planned.run)) + b"\n")
