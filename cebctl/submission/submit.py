"""Claim the stages that are missing, then send them to an executor."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cebctl.interrupts import defer_interrupts
from cebctl.status.matrix_status import MatrixStatus, collect_matrix_status
from cebctl.status.rerun import Rerun, restrict_stages
from cebctl.status.states import RunStage, RunStatus, StageStatus, submittable_states
from cebctl.submission.executors import Batch, BatchResult, Executor, StagesToSubmit, make_claim
from cebctl.submission.pretrained_weights import take_into_home
from experiments.atomic_files import write_atomic
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError
from experiments.matrix.planned_run import Matrix
from jobs import provenance, spec_file
from jobs.file_ownership import login_name
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
    """The claims that one call submitted."""

    name: str
    executor: str
    claims: tuple[Claim, ...]
    launched: tuple[Launched, ...]
    returned: tuple[tuple[Claim, str], ...] = ()
    """Claims that were released at once, because the executor did not accept them, each with the reason."""
    error: CebctlError | None = None
    """The first error in sending."""
    max_parallel: int | None = None
    """How many of its jobs may run at a time."""


def pending_stages(
    runs: Iterable[RunStatus], *, retry_failed: bool, dependable: Collection[str] = (), again: Rerun | None = None
) -> StagesToSubmit:
    """Return the stages that a submission would claim: those that are new or lost, with `retry_failed` also those that
    failed; with `again` only what that selects.

    An evaluation is claimed with its training or after it, but not while another submission holds the training: that
    one claims its own evaluations. A stage that needs another run (transfer, or a run that extends it) is claimed once
    that run is trained, or if it is `dependable`: the executor can make the stage wait for it. A local worker can't
    wait, as the other run may never come to it, so that a later `submit`, or `submit --wait`, claims such a stage.
    """
    submittable = submittable_states(retry_failed=retry_failed)
    stages: list[tuple[RunStatus, StageStatus]] = []
    for run in runs:
        if run.stages[0].untrained_parent and run.stages[0].untrained_parent not in dependable:
            continue
        trained = run.stages[0].state == "done" or run.stages[0].state in submittable
        for stage in run.stages:
            blocked = {b for b in stage.blocked_benchmarks if b.source not in dependable}
            ready = any(benchmark not in blocked for benchmark in stage.missing)
            if stage.state in submittable and (stage.stage == "train" or (trained and ready)):
                stages.append((run, stage))
    return restrict_stages(stages, again)


def blocked_runs(runs: Iterable[RunStatus], submission: Submission | None = None) -> set[tuple[str, str]]:
    """Return every run that waits for a training, or has evaluations that do, each with the run that is trained: itself
    where another submission trains it; without those that a submission has claimed since, to wait on the cluster."""
    claims = submission.claims if submission else ()
    trains = {claim.run_id for claim in claims if claim.stage == "train"}
    attacks = {(claim.run_id, b.source) for claim in claims for b in claim.benchmarks if isinstance(b, Transfer)}
    return {
        (run.planned.run_id, blocker)
        for run in runs
        for stage in run.stages
        for blocker in stage.blocked_by
        if not (stage.stage == "train" and run.planned.run_id in trains)
        and (run.planned.run_id, blocker) not in attacks
    }


def submit(
    matrix: Matrix,
    store: Store,
    home: Home,
    executor: Executor,
    *,
    retry_failed: bool = False,
    only: Collection[str] | None = None,
    again: Rerun | None = None,
) -> tuple[Submission | None, MatrixStatus]:
    """Submit the stages that are missing, or those to be done `again`; return the submission, None if no stage is
    missing, and the status on which it was decided. Call `check_prerequisites` first.

    `only` restricts it to these runs. Claims that the executor does not accept are released; if it accepts none, its
    error is raised.
    """
    name = new_submission()
    with store.exclusive():
        # Collected under the lock, whatever the caller has seen before: another `submit` may have claimed the same
        # stages since, and a stage that two submissions claim would be done twice.
        status = collect_matrix_status(matrix, store, home, again=again)
        observations = status.observations
        runs = [run for run in status.runs if only is None or run.planned.run_id in only]
        dependable = executor.dependable_runs(runs, observations, retry_failed=retry_failed)
        stages = pending_stages(runs, retry_failed=retry_failed, dependable=dependable, again=again)
        if not stages:
            return None, status
        postponed = _postponed_runs(runs, stages) if again and again.train else []
        take_into_home([run.planned.run for run, stage in stages if stage.stage == "train"], home)
        snapshot = provenance.freeze(home, matrix.parts)
        batches = executor.batches(name, matrix, stages, observations)
        claims = [claim for batch in batches for claim in batch.claims]
        postponed_claims: list[tuple[Claim, str]] = []
        _write_specs(home, matrix, claims)
        with defer_interrupts(UNDER_WAY.format(matrix.path)):
            with Journal(home.submission(name)) as journal:
                commit, home_id = snapshot.commit, ensure_home_id(home)
                journal.write(submission_record(name, matrix, executor.name, snapshot.digest, commit, home_id))
                journal.write(*_release_dead_claims(claims, observations.claims))
                journal.write(*(record for batch in batches for record in batch.records))
                for run in postponed:
                    claim = make_claim(matrix, run.planned, run.stages[0])
                    reason = f"waits until {run.stages[0].untrained_parent} is trained"
                    journal.write(claim, release_record(name, claim, reason))
                    postponed_claims.append((claim, reason))
                results, returned, error = _send(executor, batches, home, snapshot, journal, name)
            ingest(store, home)
    if error is not None and not results:
        raise error
    submission = Submission(
        name,
        executor.name,
        tuple(claim for result in results for claim in result.claims),
        tuple(launched for result in results for launched in result.launched),
        (*returned, *postponed_claims),
        error,
        executor.max_parallel,
    )
    return submission, status


def _postponed_runs(runs: Iterable[RunStatus], stages: StagesToSubmit) -> list[RunStatus]:
    """Return the runs to be trained again that wait for a run in `stages`, where the executor can't make them wait.
    Their claims are journalled and released at once, so that the next `submit` knows of them."""
    trains = {run.planned.run_id for run, stage in stages if stage.stage == "train"}
    trainings = ((run, run.stages[0]) for run in runs if run.planned.run_id not in trains)
    return [
        run
        for run, train in trainings
        if train.generation > 1 and train.state == "new" and train.untrained_parent in trains
    ]


def _send(
    executor: Executor,
    batches: Sequence[Batch],
    home: Home,
    snapshot: provenance.Snapshot,
    journal: Journal,
    name: str,
) -> tuple[list[BatchResult], list[tuple[Claim, str]], CebctlError | None]:
    """Send the batches one by one and journal each outcome; return the results, the claims that were released with the
    reasons, and the first error."""
    results: list[BatchResult] = []
    returned: list[tuple[Claim, str]] = []
    first: CebctlError | None = None
    for batch in batches:
        try:
            result = executor.send(home, snapshot, name, batch, results)
        except CebctlError as error:
            first = first or error
            # Where the cluster may have accepted the batch all the same, its claims must stay: its jobs may run.
            rejected = [] if executor.is_outcome_unknown(error) else [(claim, str(error)) for claim in batch.claims]
        else:
            results.append(result)
            journal.write(*result.launched)
            accepted = {(claim.run_id, claim.stage) for claim in result.claims}
            rejected = [(c, result.rejection) for c in batch.claims if (c.run_id, c.stage) not in accepted]
        returned += rejected
        journal.write(*(release_record(name, claim, reason) for claim, reason in rejected))
    return results, returned, first


def submission_record(
    name: str, matrix: Matrix, executor: str, code: str = "", commit: str | None = None, home: str = ""
) -> Submitted:
    """Return the first record of a submission's journal, by this user on this machine."""
    return Submitted(
        name=name,
        matrix=matrix.name,
        matrix_path=str(matrix.path.absolute()),
        executor=executor,
        code=code,
        commit=commit,
        user=login_name(),
        host=socket.gethostname(),
        home=home,
        stated_claims=msgspec.to_builtins(matrix.claims),
        claim_seeds=dict(matrix.claim_seeds),
    )


def release_record(name: str, claim: Claim | ClaimRow, reason: str) -> Released:
    """Return the record that releases a claim of the submission of this name."""
    return Released(submission=name, run_id=claim.run_id, stage=claim.stage, reason=reason)


def _release_dead_claims(claims: Sequence[Claim], old: Mapping[RunStage, Sequence[ClaimRow]]) -> list[Released]:
    """Return the records that release the dead claims which the new ones replace."""
    return [
        release_record(row.submission, row, "nobody works on it any more")
        for claim in claims
        for row in old.get((claim.run_id, claim.stage), ())
    ]


def _write_specs(home: Home, matrix: Matrix, claims: Sequence[Claim]) -> None:
    """Write spec.json for every claimed run that has none; another spec under the same id is an error."""
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
