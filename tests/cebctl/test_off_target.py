"""Runs whose target rho is not in force when their training ends: warned of before, marked behind."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from experiments.benchmarks import Clean
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Measure, Metrics, Result, Started, Succeeded
from jobs.paths import Home

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
    for text in (
        "the jump-start takes 12,000 of 10 steps: the target rho is never in force",
        "jump_start.threshold: no accuracy is above 1: the target rho is never in force",
        "the jump-start takes 10 of 10 steps: the target rho is never in force",
        "schedule.drops: 600 is never reached, the run ends at epoch 2",
        "schedule.warmup_epochs: 2, of 2 epochs: lr is never reached",
    ):
        assert text in " ".join(answer.out.split()), text
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

    document = json.loads(call("report", matrix, "--json").out)
    rows = {row["run_ids"][0]: row for row in document["tables"][0]["rows"]}
    assert {key for key, row in rows.items() if row["last_rho"]} == {long.run_id, gated.run_id, exact.run_id}
    assert rows[gated.run_id]["last_rho"] == {gated.run_id: pytest.approx(10)}
    assert rows[exact.run_id]["last_rho"] == {exact.run_id: pytest.approx(1.105, abs=1e-3)}  # 0.9 e^-1
    (note,) = [note for note in document["notes"] if note.startswith("§")]
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


def test_a_training_done_anew_takes_no_mark_off_the_numbers_that_still_count(call, matrix: Path, home: Path) -> None:
    """The second generation is at its last step and not complete: the numbers are those of the first."""
    run = load(matrix).runs[0]
    (clean,) = (benchmark for benchmark in run.benchmarks if isinstance(benchmark, Clean))
    result = Result(
        evaluation_id=evaluation_id(clean, "digits"), benchmark=clean, data_digest="d", checkpoint_step=10, engine="e",
        measures=[Measure(name="clean", unit="accuracy", total=360, correct=300)],
    )  # fmt: skip
    at = Home(home).run(run.run_id)
    with Journal(at.journal("train", 1)) as journal:
        journal.write(Started(), Metrics(step=10, epoch=2.0, values={"rho": 9.0}), Succeeded())
    with Journal(at.journal("evaluate", 1)) as journal:
        journal.write(Started(), result, Succeeded())
    with Journal(at.journal("train", 2)) as journal:
        journal.write(Started(generation=2), Metrics(step=10, epoch=2.0, values={"rho": -2.0}))

    row = json.loads(call("report", matrix, "--json").out)["tables"][0]["rows"][0]
    assert row["cells"]["clean"]["value"] == pytest.approx(300 / 360)
    assert row["last_rho"] == {run.run_id: 9.0}
    page = matrix.with_name("page.html")
    call("report", matrix, "--html", page)
    text = page.read_text("utf-8")
    assert f"<b>{run.name}§</b>" in text, "and so is the run below the tables"
    assert '<th scope="row">clean</th><td>0.8333 accuracy†</td>' in text  # by an engine that recorded no versions
    with Journal(at.journal("train", 2)) as journal:
        journal.write(Succeeded())
    row = json.loads(call("report", matrix, "--json").out)["tables"][0]["rows"][0]
    assert row["last_rho"] == {} and "missing" in row["cells"]["clean"]
