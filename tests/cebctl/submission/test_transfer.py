"""An evaluation that needs another run's network: claimed once that is trained, and not before."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cebctl.status.states import Observations, RunStatus, derive_statuses
from cebctl.submission.executors import make_claim
from cebctl.submission.submit import blocked_runs, pending_stages
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from store.row_types import AttemptRow, ResultRow


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(
        "base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}\n"
        "grids: [{objective: xent}, {objective: ceb, rho: 1}]\n"
        "evaluate: [clean, transfer: {source: objective = xent, norm: linf, eps: 0.1}]\n"
    )
    return load(path)


def _row(kind: Any, **given: Any) -> Any:
    return kind(**{field.name: ({"generation": 1} | given).get(field.name) for field in fields(kind)})


def _runs(matrix: Matrix, trained: dict[str, str], clean: tuple[str, ...] = ()) -> list[RunStatus]:
    jobs = {
        (run.run_id, "train"): _row(
            AttemptRow, run_id=run.run_id, stage="train", attempt=1, state=state, submission="s1"
        )
        for run in matrix.runs
        if (state := trained.get(run.axes["objective"]))
    }
    results = {
        run.run_id: [_row(ResultRow, run_id=run.run_id, evaluation_id=evaluation_id(matrix.benchmarks[0], "digits"))]
        for run in matrix.runs
        if run.axes["objective"] in clean
    }
    return derive_statuses(matrix, Observations(jobs, {}, results, lambda *_: False, lambda _: False))


def _claims(matrix: Matrix, runs: list[RunStatus]) -> list[tuple[str, str, list[str]]]:
    return [
        (taken.label.split()[0], taken.stage, [type(b).__name__ for b in taken.benchmarks])
        for taken in (make_claim(matrix, run.planned, stage) for run, stage in pending_stages(runs, retry_failed=False))
    ]


def test_the_first_submission_leaves_it_out(matrix: Matrix) -> None:
    runs = _runs(matrix, {})
    assert _claims(matrix, runs) == [
        ("xent", "train", []), ("xent", "evaluate", ["Clean"]), ("ceb", "train", []), ("ceb", "evaluate", ["Clean"]),
    ]  # fmt: skip
    assert blocked_runs(runs) == {(matrix.runs[1].run_id, matrix.runs[0].run_id)}


def test_once_the_source_is_trained_it_is_claimed(matrix: Matrix) -> None:
    runs = _runs(matrix, {"xent": "succeeded", "ceb": "succeeded"}, clean=("xent", "ceb"))
    assert _claims(matrix, runs) == [("ceb", "evaluate", ["Transfer"])]
    assert not blocked_runs(runs)


@pytest.mark.parametrize("source", ["failed", "died", "preempted"])
def test_a_source_that_did_not_succeed_holds_it_back(matrix: Matrix, source: str) -> None:
    runs = _runs(matrix, {"xent": source, "ceb": "succeeded"}, clean=("ceb",))
    assert not any(label == "ceb" for label, _, _ in _claims(matrix, runs))
    assert blocked_runs(runs) == {(matrix.runs[1].run_id, matrix.runs[0].run_id)}
    assert runs[1].state == "new"
