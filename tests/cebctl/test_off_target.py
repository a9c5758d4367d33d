"""Runs whose target rho is not in force when their training ends: warned of before, marked behind."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from experiments.matrix import load

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 2, batch: 256}
grids:
  - {objective: ceb, rho: -2, jump_start: {name: gamma, steps: 12000}}
  - {objective: ceb, rho: -1, jump_start: {name: gated, epochs: 1, threshold: 1.0}}
  - {objective: vib, rho: 3, jump_start: {name: gamma, steps: 8}}
  - {objective: ceb, rho: 3, jump_start: {name: gamma, steps: 3}}
  - {objective: ceb, rho: 1, jump_start: {name: gamma, steps: 10}, schedule: {drops: [1, 600], warmup_epochs: 2}}
evaluate: [clean, training_rate]
"""
"""Ten steps, five an epoch."""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return path


def test_plan_warns_with_the_numbers(call, matrix: Path, home: Path) -> None:
    answer = call("plan", matrix)
    for said in (
        "the jump-start takes 12,000 of 10 steps: the target rho is never in force",
        "jump_start.threshold: no accuracy is above 1: the target rho is never in force",
        "the jump-start takes 10 of 10 steps: the target rho is never in force",
        "schedule.drops: 600 is never reached, the run ends at epoch 2",
        "schedule.warmup_epochs: 2, of 2 epochs: lr is never reached",
    ):
        assert said in " ".join(answer.out.split()), said
    warnings = json.loads(call("plan", matrix, "--json").out)["warnings"]
    first, *_ = load(matrix).runs
    assert warnings[0]["run_ids"] == [first.run_id] and "12,000 of 10 steps" in warnings[0]["text"]
    named = {run_id for warning in warnings for run_id in warning["run_ids"]}
    assert len(named) == 3  # 8 and 3 of 10 steps leave the target more than a tenth


def test_the_report_marks_what_was_not_in_force(cebctl, call, matrix: Path, home: Path) -> None:
    submitted = cebctl("submit", matrix, "--on", "local", "--wait")
    assert submitted.code == 0, submitted.err
    assert "12,000 of 10 steps" in submitted.err
    long, gated, late, sound, exact = load(matrix).runs

    found = json.loads(call("report", matrix, "--json").out)
    rows = {row["run_ids"][0]: row for row in found["tables"][0]["rows"]}
    assert {key for key, row in rows.items() if row["last_rho"]} == {long.run_id, gated.run_id, exact.run_id}
    assert rows[gated.run_id]["last_rho"] == {gated.run_id: pytest.approx(10)}
    assert rows[exact.run_id]["last_rho"] == {exact.run_id: pytest.approx(1.105, abs=1e-3)}  # 0.9 e^-1
    (note,) = [note for note in found["notes"] if note.startswith("§")]
    assert f"{gated.name} ended at rho 10" in note and sound.name not in note
    cells = {key: row["cells"]["rate_train_max"] for key, row in rows.items()}
    assert "training ended at rho 10" in cells[gated.run_id]["missing"]
    assert cells[late.run_id] == {"missing": "no epoch: none began with the target rho in force"}
    assert cells[sound.run_id]["n"] == 1

    for how, mark in (("table", "-1§"), ("md", "-1§"), ("latex", r"-1$^\S$")):
        answer = call("report", matrix, "--format", how)
        assert mark in answer.out and "ended at rho 10" in answer.out, how
    lines = list(csv.DictReader(io.StringIO(call("report", matrix, "--format", "csv").out)))
    assert {line["last_rho"] for line in lines if line["run_ids"] == gated.run_id} == {"10"}
    assert {line["last_rho"] for line in lines if line["run_ids"] == sound.run_id} == {""}
    page = matrix.with_name("page.html")
    call("report", matrix, "--html", page)
    text = page.read_text("utf-8")
    assert "-1§" in text and "ended at rho 10" in text

    assert "ended at rho 10" in call("show", gated.run_id).out
    assert json.loads(call("show", sound.run_id, "--json").out)["off_target"] is None
    status = call("status", matrix)
    assert status.code == 0 and f"{gated.name}: the target rho was not in force" in " ".join(status.err.split())
    assert json.loads(call("plan", matrix, "--json").out)["totals"]["submitted"] == 0
