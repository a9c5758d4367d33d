"""Claim, then submit: what is missing, and only that."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from cebctl.control.states import RunStatus, StageStatus, State
from cebctl.control.survey import facts, read_only, survey
from experiments.errors import CebctlError, InputError
from experiments.matrix import Matrix, PlannedRun
from jobs import cluster, fetch, provenance
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
    """The claims that would be taken: every stage that is new or lost, and failed ones if asked.

    An evaluation is claimed with its training, or once that is done; never ahead of one that another
    submission holds, which claims its own evaluations.
    """
    offered: set[State] = {"new", "lost"}
    if retry_failed:
        offered.add("failed")
    claims: list[Claim] = []
    for run in runs:
        trained = run.stages[0].state == "done" or run.stages[0].state in offered
        claims += [
            _claim(run.planned, stage)
            for stage in run.stages
            if stage.state in offered and (stage.stage == "train" or trained)
        ]
    return claims


def submit_local(
    matrix: Matrix, store: Store, home: Home, *, retry_failed: bool, workers: int | None = None
) -> Submission | None:
    """Submit what is missing to local workers; None if nothing is. Call `check_data` first."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    with store.exclusive():
        claims = wanted(survey(matrix, store, home), retry_failed=retry_failed)
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
    """Raise InputError if the data set of a run that would be submitted is not at hand. Writes nothing."""
    with read_only(home) as store:
        runs = survey(matrix, store, home, fresh=False)
    needed = {claim.run_id for claim in wanted(runs, retry_failed=retry_failed)}
    for data in {run.run.data.name for run in matrix.runs if run.run_id in needed}:
        there = fetch.present(data, data_folder())
        if there.state != "ready":
            raise InputError(f"data set {data}", f"{there.state}: {there.detail}")


def _claim(planned: PlannedRun, stage: StageStatus) -> Claim:
    return Claim(
        run_id=planned.run_id,
        label=planned.name,
        stage=stage.stage,
        spec=msgspec.to_builtins(planned.run),
        benchmarks=list(stage.missing),
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
