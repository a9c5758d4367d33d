"""Claim, then submit: what is missing, and only that."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from cebctl.control.states import RunStatus, StageStatus, State
from cebctl.control.survey import facts, read_only, survey
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError, InputError
from experiments.matrix import Matrix, PlannedRun
from jobs import checkpoints, cluster, fetch, provenance
from jobs.home import Home, data_folder
from jobs.journal import Claim, Journal, Launched, Released, Submitted
from store.ingest import ingest
from store.opening import Store


@dataclass(frozen=True)
class Submission:
    """What one call submitted."""

    name: str
    claims: tuple[Claim, ...]
    launched: tuple[Launched, ...]


def wanted(runs: Iterable[RunStatus], *, retry_failed: bool) -> list[Claim]:
    """The claims that would be taken, on everything that is `due`."""
    return [_claim(run.planned, stage) for run, stage in due(runs, retry_failed=retry_failed)]


def due(runs: Iterable[RunStatus], *, retry_failed: bool) -> list[tuple[RunStatus, StageStatus]]:
    """What nobody does: every stage that is new or lost, and failed ones if asked.

    An evaluation is claimed with its training, or once that is done; never ahead of one that another
    submission holds, which claims its own evaluations. A benchmark that needs another run (transfer) is claimed
    only once that run is trained: a worker that met it earlier would have to wait for another one, which may
    never come to it. So such a benchmark is for a later `submit`; `submit --wait` is one itself.
    """
    offered: set[State] = {"new", "lost"}
    if retry_failed:
        offered.add("failed")
    found: list[tuple[RunStatus, StageStatus]] = []
    for run in runs:
        trained = run.stages[0].state == "done" or run.stages[0].state in offered
        for stage in run.stages:
            possible = stage.stage == "train" or (trained and len(stage.waiting) < len(stage.missing))
            if stage.state in offered and possible:
                found.append((run, stage))
    return found


def held_back(runs: Iterable[RunStatus]) -> frozenset[str]:
    """The runs with evaluations that wait for another run to be trained."""
    return frozenset(run.planned.run_id for run in runs for stage in run.stages if stage.waiting)


def submit_local(
    matrix: Matrix,
    store: Store,
    home: Home,
    *,
    retry_failed: bool = False,
    workers: int | None = None,
    held: Collection[str] | None = None,
) -> Submission | None:
    """Submit what is missing to local workers; None if nothing is. Call `check_data` first.

    With `held`, only the evaluations of these runs that had to wait for another run (`held_back`).
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    with store.exclusive():
        claims = wanted(survey(matrix, store, home), retry_failed=retry_failed)
        if held is not None:
            claims = [c for c in claims if c.run_id in held and any(isinstance(b, Transfer) for b in c.benchmarks)]
        if not claims:
            return None
        snapshot = provenance.freeze(home)
        _write_specs(home, matrix, claims)
        with Journal(home.submission(name)) as journal:
            journal.write(_submitted(name, matrix, snapshot), *_given_back(claims, matrix, store, home), *claims)
            try:
                count = workers or min(len(os.sched_getaffinity(0)), len({claim.run_id for claim in claims}))
                launched = cluster.launch_local(home, snapshot, name, count)
            except CebctlError as error:
                journal.write(*(_released(name, claim, str(error)) for claim in claims))
                raise
            journal.write(*launched)
        ingest(store, home)
    return Submission(name, tuple(claims), tuple(launched))


def check_data(matrix: Matrix, home: Home, *, retry_failed: bool) -> None:
    """Raise InputError if the data set, or the checkpoint, that a run to be submitted needs is not at hand.

    Writes nothing."""
    with read_only(home) as store:
        runs = survey(matrix, store, home, fresh=False)
    claims = wanted(runs, retry_failed=retry_failed)
    _check_checkpoints(claims, home)
    needed = {claim.run_id for claim in claims}
    for data in {run.run.data.name for run in matrix.runs if run.run_id in needed}:
        there = fetch.present(data, data_folder())
        if there.state != "ready":
            raise InputError(f"data set {data}", f"{there.state}: {there.detail}")


def _check_checkpoints(claims: Sequence[Claim], home: Home) -> None:
    to_train = {claim.run_id for claim in claims if claim.stage == "train"}
    bare = [
        claim
        for claim in claims
        if claim.run_id not in to_train and not any(checkpoints.newest_first(home.run(claim.run_id).checkpoints))
    ]
    if bare:
        others = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
        raise InputError(
            home.run(bare[0].run_id).checkpoints,
            f"{bare[0].label}{others} is trained, but its checkpoints were removed (by `cebctl gc --keep none`?), "
            "so that no further benchmark can run on it",
            "leave it out by --only, or remove its run's folder, results included, to train it again",
        )


def _claim(planned: PlannedRun, stage: StageStatus) -> Claim:
    return Claim(
        run_id=planned.run_id,
        label=planned.name,
        stage=stage.stage,
        spec=msgspec.to_builtins(planned.run),
        benchmarks=[benchmark for benchmark in stage.missing if benchmark not in stage.waiting],
    )


def _submitted(name: str, matrix: Matrix, snapshot: provenance.Snapshot) -> Submitted:
    return Submitted(
        name=name,
        matrix=matrix.name,
        matrix_path=str(matrix.path.absolute()),
        executor="local",
        code=snapshot.digest,
        commit=snapshot.commit,
        user=getpass.getuser(),
        host=socket.gethostname(),
    )


def _given_back(claims: Sequence[Claim], matrix: Matrix, store: Store, home: Home) -> list[Released]:
    """The dead claims that the new ones replace."""
    old = facts(matrix, store, home).claims
    return [
        Released(submission=row.submission, run_id=row.run_id, stage=row.stage, reason="its workers are gone")
        for claim in claims
        for row in old.get((claim.run_id, claim.stage), ())
    ]


def _released(name: str, claim: Claim, reason: str) -> Released:
    return Released(submission=name, run_id=claim.run_id, stage=claim.stage, reason=reason)


def _write_specs(home: Home, matrix: Matrix, claims: Sequence[Claim]) -> None:
    """spec.json of every run that has none; another spec under the same identity is an error, never a merge."""
    for planned in matrix.runs:
        path = home.run(planned.run_id).spec
        if not any(claim.run_id == planned.run_id for claim in claims):
            continue
        text = msgspec.json.format(msgspec.json.encode(planned.run)) + b"\n"
        if path.exists():
            if path.read_bytes() != text:
                raise InputError(path, f"holds another spec than {planned.name} of {matrix.path} under one run_id")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.part")
        beside.write_bytes(text)
        beside.rename(path)
