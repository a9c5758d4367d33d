"""The table of states: every combination of what a stage can have met."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cebctl.status.states import Observations, derive_statuses
from cebctl.submission.executors import make_claim
from cebctl.submission.submit import pending_stages
from experiments.benchmarks import Pgd
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from store.row_types import AttemptRow, ClaimRow, ResultRow


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(
        "base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8, objective: xent}\n"
        "evaluate: [clean, pgd: {norm: linf, eps: 0.1}]"
    )
    return load(path)


def _row(kind: Any, **given: Any) -> Any:
    """A row of the first generation with the given fields; the others null."""
    return kind(**{field.name: ({"generation": 1} | given).get(field.name) for field in fields(kind)})


def _job(stage: str, state: str, attempt: int = 1, submission: str = "s1", updated_at: float = 0.0) -> Any:
    return lambda run_id: _row(
        AttemptRow,
        run_id=run_id,
        stage=stage,
        attempt=attempt,
        state=state,
        submission=submission,
        updated_at=updated_at,
    )


def _states(
    matrix: Matrix,
    jobs: Any = (),
    claims: Any = (),
    results: int = 0,
    claim_alive: bool = False,
    job_alive: bool | None = False,
    failed: Any = None,
) -> list[str]:
    return [stage.state for stage in _status(matrix, jobs, claims, results, claim_alive, job_alive, failed).stages]


def _status(matrix, jobs=(), claims=(), results=0, claim_alive=False, job_alive=False, failed=None):  # type: ignore[no-untyped-def]
    (run,) = matrix.runs
    rows = [job(run.run_id) for job in jobs]
    found = [
        _row(ResultRow, run_id=run.run_id, evaluation_id=evaluation_id(benchmark, "digits"))
        for benchmark in matrix.benchmarks[:results]
    ]
    claimed = {
        (run.run_id, stage): [
            _row(
                ClaimRow,
                run_id=run.run_id,
                stage=stage,
                submission=submission,
                benchmarks=(*given, *matrix.benchmarks)[:1],
            )
        ]
        for stage, submission, *given in claims
    }
    facts = Observations(
        {(row.run_id, row.stage): row for row in rows},
        claimed,
        {run.run_id: found},
        lambda claim, job: claim_alive and not (job and job.submission == claim.submission),
        lambda _: job_alive,
        failed_benchmarks={run.run_id: failed} if failed else {},
    )
    return derive_statuses(matrix, facts)[0]


BOTH = [("train", "s1"), ("evaluate", "s1")]


def test_never_run(matrix: Matrix) -> None:
    assert _states(matrix) == ["new", "new"]


def test_claimed_by_the_living_and_by_the_dead(matrix: Matrix) -> None:
    assert _states(matrix, claims=BOTH, claim_alive=True) == ["queued", "queued"]
    assert _states(matrix, claims=BOTH, claim_alive=False) == ["new", "new"]


def test_at_work(matrix: Matrix) -> None:
    started = [_job("train", "started")]
    assert _states(matrix, started, BOTH, claim_alive=True, job_alive=True) == ["running", "queued"]
    assert _states(matrix, started, BOTH, claim_alive=True, job_alive=False) == ["lost", "new"]
    assert _states(matrix, started, BOTH, claim_alive=False, job_alive=False) == ["lost", "new"]


def test_on_a_machine_that_cant_be_asked_the_last_record_counts(matrix: Matrix) -> None:
    assert _states(matrix, [_job("train", "started", updated_at=time.time())], job_alive=None)[0] == "running"
    assert _states(matrix, [_job("train", "started", updated_at=time.time() - 3600)], job_alive=None)[0] == "lost"


@pytest.mark.parametrize(("ended", "state"), [("failed", "failed"), ("died", "lost"), ("preempted", "lost")])
def test_ended_without_success(matrix: Matrix, ended: str, state: str) -> None:
    assert _states(matrix, [_job("train", ended)], BOTH, claim_alive=True, job_alive=True) == [state, "new"]
    again = [("train", "s2"), ("evaluate", "s2")]
    assert _states(matrix, [_job("train", ended)], again, claim_alive=True) == ["queued", "queued"]


def test_done_is_when_every_benchmark_has_its_result(matrix: Matrix) -> None:
    trained = _job("train", "succeeded")
    assert _states(matrix, [trained]) == ["done", "new"]
    assert _states(matrix, [trained, _job("evaluate", "succeeded")], results=1) == ["done", "new"]
    assert _states(matrix, [trained, _job("evaluate", "failed")], results=1) == ["done", "failed"]
    assert _states(matrix, [trained, _job("evaluate", "succeeded")], results=2) == ["done", "done"]
    later = [("evaluate", "s2")]
    assert _states(matrix, [trained, _job("evaluate", "succeeded")], later, 1, claim_alive=True) == ["done", "queued"]


def test_a_failure_is_of_what_was_asked_for(matrix: Matrix) -> None:
    """Of a benchmark of another matrix it keeps nobody here from anything, and it is not forgotten for its success."""
    clean, pgd = matrix.benchmarks
    other = Pgd(norm="l2", eps=1)
    trained, failed, later = (
        _job("train", "succeeded"),
        _job("evaluate", "failed"),
        _job("evaluate", "succeeded", 2, "s2"),
    )
    asked = [("evaluate", "s1")]
    assert _states(matrix, [trained, failed], asked, failed=(clean, pgd)) == ["done", "failed"]
    assert _states(matrix, [trained, failed], asked, failed=(other,)) == ["done", "new"]
    assert _states(matrix, [trained, failed], asked, results=1, failed=(other, pgd)) == ["done", "failed"]
    assert _states(matrix, [trained, failed], asked, failed=(pgd,)) == ["done", "new"], "clean was never tried"
    assert _states(matrix, [trained, later], asked, results=1, failed=(pgd,)) == ["done", "failed"]
    assert _states(matrix, [trained, failed]) == ["done", "failed"], "by whom it was asked for is not known any more"


def test_what_is_wanted_is_what_nobody_does(matrix: Matrix) -> None:
    def stages(retry_failed: bool = False, **given: Any) -> list[tuple[str, int]]:
        offered = pending_stages([_status(matrix, **given)], retry_failed=retry_failed)
        claims = [make_claim(matrix, run.planned, stage) for run, stage in offered]
        return [(claim.stage, len(claim.benchmarks)) for claim in claims]

    trained, failed = _job("train", "succeeded"), _job("train", "failed")
    assert stages() == [("train", 0), ("evaluate", 2)]
    assert stages(claims=BOTH, claim_alive=True) == []
    assert stages(jobs=[failed]) == []
    assert stages(jobs=[failed], retry_failed=True) == [("train", 0), ("evaluate", 2)]
    assert stages(jobs=[_job("train", "died")]) == [("train", 0), ("evaluate", 2)]
    assert stages(jobs=[trained], results=1) == [("evaluate", 1)]
    assert stages(jobs=[_job("train", "started")], job_alive=True) == []
