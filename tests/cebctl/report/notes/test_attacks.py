"""What footnotes say about attacks and audits."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cebctl.report.cells import Missing, Report
from cebctl.report.formats import write
from cebctl.report.table import build_report
from cebctl.status.states import RunStatus, StageStatus
from experiments.benchmarks import AutoAttack, GradientAudit, Pgd, measures
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from store.row_types import ResultRow

MATRIX = """
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids:
  - objective: xent
  - {objective: ceb, rho: [1, 2]}
evaluate:
  - clean
  - pgd: {norm: linf, eps: 0.1}
  - autoattack: {norm: linf, eps: 0.1}
  - transfer: {source: objective = xent, norm: linf, eps: 0.1}
  - gradient_audit: {norm: linf, eps: 0.1}
"""
HONEST = {"audit_pgd": 40, "audit_more": 38, "audit_losses": 39, "audit_large_eps": 0}


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return load(path)


def _null(kind: Any, **values: Any) -> Any:
    return kind(**{field.name: values.get(field.name) for field in fields(kind)})


def _row(run_id: str, benchmark: Any, name: str, correct: int, unit: str = "accuracy") -> ResultRow:
    evaluation = evaluation_id(benchmark, "digits")
    number = {"correct": correct} if unit == "accuracy" else {"value": correct / 100}
    return _null(
        ResultRow, run_id=run_id, evaluation_id=evaluation, benchmark=benchmark, name=name, unit=unit, total=100,
        engine="e1", **number,
    )  # fmt: skip


def _report(
    matrix: Matrix, attacked: list[tuple[int, type]], audits: dict[int, dict[str, int]] | None = None
) -> Report:
    rows = [_row(run.run_id, matrix.benchmarks[0], "clean", 90) for run in matrix.runs]
    for index, kind in attacked:
        (benchmark,) = [b for b in matrix.benchmarks if isinstance(b, kind)]
        rows.append(_row(matrix.runs[index].run_id, benchmark, measures(benchmark)[0], 30))
    (audit,) = [b for b in matrix.benchmarks if isinstance(b, GradientAudit)]
    for index, values in (audits or {}).items():
        run_id = matrix.runs[index].run_id
        rows += [_row(run_id, audit, name, value) for name, value in values.items()]
        rows += [_row(run_id, audit, name, 0, "share") for name in ("audit_square_alone", "audit_zero_gradient")]
    status = {}
    for run in matrix.runs:
        evaluate = StageStatus("evaluate", "new", None, run.benchmarks, tuple(b for b in run.benchmarks[3:4]))
        status[run.run_id] = RunStatus(run, (StageStatus("train", "done"), evaluate))
    return build_report(matrix, status, rows, "e1")


def _said(report: Report, word: str) -> list[str]:
    return [note for note in report.notes if word in note]


@pytest.mark.parametrize(
    ("attacked", "text"),
    [
        ([(0, Pgd), (1, Pgd)], "no stronger attack than PGD was run on these models"),
        ([(0, Pgd), (1, Pgd), (1, AutoAttack)], "for some, no stronger attack than PGD was run"),
        ([(0, Pgd), (0, AutoAttack)], "AutoAttack, a stronger attack, stands beside each"),
    ],
)
def test_what_stands_beside_pgd(matrix: Matrix, attacked: list[tuple[int, type]], text: str) -> None:
    (note,) = _said(_report(matrix, attacked), "upper bounds")
    assert text in note


def test_both_attacks_have_a_column_and_the_audit_has_words(matrix: Matrix) -> None:
    report = _report(matrix, [(0, Pgd), (0, AutoAttack)])
    assert report.tables[0].columns == ("clean", "pgd_linf", "autoattack_linf", "transfer_linf")
    (note,) = _said(report, "transfer_linf")
    assert "PGD examples made on xent, eps 0.1 (25.5/255), n 20" in note


def test_rand_says_which_classifier_it_judged_and_how_that_does_without_attack(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    many, single = (f"autoattack: {{norm: linf, eps: 0.1, version: rand{draws}}}" for draws in ("", ", draws: 1"))
    grids = "grids: [{objective: ceb, rho: [1, 2]}]"
    path.write_text(
        f"{MATRIX.partition('grids')[0]}{grids}\nevaluate: [clean, pgd: {{norm: linf, eps: 0.1}}, {many}, {single}]"
    )
    matrix = load(path)
    status = {run.run_id: RunStatus(run, (StageStatus("train", "done"),)) for run in matrix.runs}
    _, pgd, *rand = matrix.benchmarks
    rows = [_row(run.run_id, benchmark, "unattacked_share", 78, "share") for run in matrix.runs for benchmark in rand]
    rows += [_row(matrix.runs[0].run_id, benchmark, measures(benchmark)[0], 30) for benchmark in (pgd, *rand)]
    report = build_report(matrix, status, rows, "e1")
    assert _said(report, "averaged over 20 draws of z: attacked over 20 fixed draws, counted on fresh ones")
    assert _said(report, "that draws one z: attacked over 20 fixed draws, counted on fresh ones")
    for draws in ("20 draws", "1 draw"):
        assert _said(report, f"Over {draws} of z and without attack: 78.0% (ceb rho=1), 78.0% (ceb rho=2).")
    assert _said(report, "no stronger attack than PGD")  # of the classifier that PGD attacked


def test_verdicts_are_footnotes_by_run_and_in_json(matrix: Matrix) -> None:
    report = _report(matrix, [], {0: HONEST, 1: HONEST | {"audit_more": 10}})
    assert _said(report, "gradient audit") == [
        "gradient audit, linf eps=0.1: gradients informative (100 images): xent.",
        "gradient audit, linf eps=0.1: suspect, because more steps and restarts take 30.0 points more (100 images): "
        "ceb rho=1.",
        "gradient audit, linf eps=0.1: no audit yet: ceb rho=2.",
    ]
    verdicts = write.report_json(report)["verdicts"]
    assert verdicts[matrix.runs[0].run_id] == {"linf eps=0.1": {"informative": True, "reasons": (), "n": 100}}
    assert verdicts[matrix.runs[1].run_id]["linf eps=0.1"]["informative"] is False


def test_a_transfer_without_its_source_says_so(matrix: Matrix) -> None:
    cell = _report(matrix, []).tables[0].rows[1].cells["transfer_linf"]
    assert cell == Missing(f"its source {matrix.runs[0].run_id} is not trained")
