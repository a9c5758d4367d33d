"""A rehearsal from the matrix to the page: what it leaves alone, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cebctl.planning.rehearsed_speeds import RehearsedSpeed, write_speeds
from experiments.matrix.load import load
from jobs.paths import Home

MATRIX = """
title: Small
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 40, batch: 256}
grids:
  - objective: xent
  - {objective: ceb, rho: [3, 2, 1, 0]}
resources: {train: {memory: 20G}}
evaluate: [clean, ood: {against: cifar10}, pgd: {norm: linf, eps: 0.1, steps: 3}]
report: {columns: [clean, ood_auroc], figures: [v2-1, v2-3]}
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(MATRIX)
    return path


def test_the_whole_road(call, matrix: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marked in every table, page and figure; apart from real runs; what is missing and stays empty is named."""
    monkeypatch.setenv("CEBCTL_STORE", f"sqlite:///{home}/shared.sqlite")
    answer = call("rehearse", matrix, "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert [(run["name"], run["state"]) for run in document["runs"]] == [("xent", "done"), ("ceb rho=3", "done")]
    for stage in (stage for run in document["runs"] for stage in run["stages"]):
        assert stage["seconds_per_image"] > 0 and stage["planned_seconds_per_image"] > 0 and stage["memory_mb"] > 50
    (missing,) = document["missing"]
    assert missing["benchmark"] == {"name": "ood", "against": "cifar10", "subset": None}
    assert "cifar-10-batches-py does not exist; get it with `cebctl data fetch cifar10`" in missing["reason"]
    assert "missing ood against=cifar10: " in answer.err and document["empty"] == [
        {"figure": "v2-3", "reason": "no numbers for it"}
    ]
    page = Path(document["page"]).read_text()
    assert "REHEARSAL: Small" in page and "no number here is a result" in page
    for figure in document["figures"]:
        assert "REHEARSAL" in Path(figure).with_suffix(".svg").read_text()
    assert not list(home.rglob("checkpoint*/*.pt")) and not (home / "shared.sqlite").exists()

    assert json.loads(call("plan", matrix, "--json").out)["totals"]["new"] == 5
    assert "nothing was submitted yet" in call("status").out


def test_what_fails_is_named_with_its_log_and_so_is_too_little_memory(call, matrix: Path, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("""
def bright(model, images, labels, rng) -> float:
    if (images == 0).any():  # of the digits, not of what parts are tried on
        raise ValueError("too dark for me")
    return labels.float()
""")
    text = MATRIX.replace("ood: {against: cifar10}", "{from: parts.py:bright}").replace("ood_auroc", "bright")
    matrix.write_text(text.replace("20G", "64M"))
    answer = call("rehearse", matrix, "--only", "objective = xent")
    assert answer.code == 1, answer.err
    (failed,) = [line for line in answer.out.splitlines() if line.startswith("failed ")]
    assert "xent, evaluate: " in failed and "too dark for me" in failed
    assert Path(failed.rpartition("(log: ")[2].rstrip(")")).is_file()
    assert any(line.startswith("empty bright: xent: failed: ") for line in answer.out.splitlines()), answer.out
    assert any(line.startswith("memory xent, train: it took ") for line in answer.out.splitlines())
    assert "asks for memory: 64M" in answer.out


def test_missing_training_images_are_one_line(call, matrix: Path, home: Path) -> None:
    matrix.write_text("base: {data: fashion_mnist, network: small_cnn, objective: xent, optimiser: adam, epochs: 1, "
                      "batch: 8}\nevaluate: [clean]\n")  # fmt: skip
    answer = call("rehearse", matrix)
    assert answer.code == 2 and answer.err.splitlines()[-1].startswith("data set fashion_mnist: missing: ")
    assert not home.exists()


def test_plan_goes_by_the_speed_of_a_rehearsal_where_the_workload_is_the_same(call, matrix: Path, home: Path) -> None:
    full = load(matrix)
    assert json.loads(call("plan", matrix, "--json").out)["totals"]["gpu_hours_basis"]["counted"] == 5
    for name, speed in (("20260101-000000-aaaa", 1.0), ("20260102-000000-aaaa", 100.0)):
        rehearsal = Home(home / "rehearsals" / "small" / name, is_apart=True)
        rehearsal.folder.mkdir(parents=True)
        write_speeds([RehearsedSpeed(full.runs[0].run, None, speed)], rehearsal)
    document = json.loads(call("plan", matrix, "--json").out)
    assert document["totals"]["gpu_hours_basis"] == {"measured": 0, "rehearsed": 5, "counted": 0, "not counted": 0}
    assert document["runs"][0]["gpu_hours"] > 40 * 1437 / 100 / 3600
    assert "rehearsed: training of the same network" in call("plan", matrix).out
    rehearsal.speeds.write_text("{")
    assert json.loads(call("plan", matrix, "--json").out)["totals"]["gpu_hours_basis"]["counted"] == 5
