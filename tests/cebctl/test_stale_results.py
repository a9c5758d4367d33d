"""Reports on numbers made by other versions of the engine, by the command line."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.journal.files import Journal
from jobs.paths import Home
from tests.cebctl.conftest import claim

ROOT = Path(__file__).parents[2]
FIRST_ENGINE = "82611ebf35b1da7a"
"""The digest that commit 2523c91 recorded with its numbers."""


def _journal(home: Path, run: str, stage: str, *records: dict[str, Any]) -> None:
    """As a job writes one, whatever its version."""
    folder = home / "runs" / run / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"time": time.time()} | record) for record in records]
    number = len([*folder.glob(f"{stage}.*")]) + 1
    (folder / f"{stage}.{number}.jsonl").write_text("".join(line + "\n" for line in lines))


@pytest.fixture
def matrix(tiny: Path) -> Matrix:
    return load(tiny)


@pytest.fixture
def measured(home: Path, matrix: Matrix):
    """Give every run of the tiny matrix training and clean accuracy, made with these versions."""

    with Journal(Home(home).submission("s1")) as journal:
        journal.write(*(claim(run, "train") for run in matrix.runs))

    def measured(engine: str = FIRST_ENGINE, trained: dict[str, int] = {}, evaluated: dict[str, int] = {}) -> None:  # noqa: B006
        for run in matrix.runs:
            begun = {"type": "started", "engine": engine}
            saved = {"type": "checkpointed", "step": 9, "file": "c", "seconds": 1}
            _journal(home, run.run_id, "train", begun | {"numerics": trained}, saved, {"type": "succeeded"})
            clean = {
                "type": "result",
                "evaluation_id": evaluation_id(matrix.benchmarks[0], "digits"),
                "benchmark": {"name": "clean"},
                "data_digest": "d",
                "checkpoint_step": 9,
                "engine": engine,
                "measures": [{"name": "clean", "unit": "accuracy", "total": 100, "correct": 90}],
                "numerics": evaluated,
            }
            _journal(home, run.run_id, "evaluate", begun | {"numerics": evaluated}, clean, {"type": "succeeded"})

    return measured


def _cells(out: str) -> list[dict[str, Any]]:
    rows = json.loads(out)["tables"][0]["rows"]
    return [row["cells"]["clean"] for row in rows]


def test_a_comment_and_a_docstring_in_the_engine_make_nothing_stale(
    cebctl, measured, tiny: Path, tmp_path: Path
) -> None:
    """Numbers of commit 2523c91, reported by a checkout whose engine reads otherwise and computes the same."""
    measured()
    for package in ("cebctl", "experiments", "jobs", "store"):
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("jobs/engine/training/step.py", "jobs/engine/attacks/pgd.py", "experiments/spec.py"):
        path = tmp_path / "checkout" / file
        path.write_text(path.read_text().replace('"""', '"""In other words: ', 1) + "\n# A comment.\n")
    answer = cebctl("report", tiny, "--json", PYTHONPATH=str(tmp_path / "checkout"))
    assert answer.code == 0, answer.err
    assert [cell["stale"] for cell in _cells(answer.out)] == [False, False, False]


def test_a_part_that_was_raised_is_named_with_the_command_that_measures_again(call, measured, tiny: Path) -> None:
    measured(engine="of-another-day", trained={"network.small_cnn": 1}, evaluated={"evaluator.clean": 0})
    cells = _cells(call("report", tiny, "--json").out)
    assert [(cell["stale"], cell.get("changed")) for cell in cells] == [(True, ["evaluator.clean"])] * 3
    for format in ("table", "md", "csv", "latex"):
        assert "evaluator.clean" in call("report", tiny, "--format", format).out
    out = call("report", tiny, "--format", "md").out
    assert out.count("†") == 4 and f"`cebctl submit {tiny} --again clean`" in out


def test_the_numbers_of_a_newer_cebctl_are_not_called_earlier(call, measured, tiny: Path) -> None:
    measured(engine="of-another-day", trained={"network.small_cnn": 1}, evaluated={"evaluator.clean": 7})
    out = call("report", tiny, "--format", "md").out
    assert "made by a newer cebctl than this one: evaluator.clean" in out and "earlier" not in out


def test_a_training_under_two_versions_says_so(call, home: Path, measured, matrix: Matrix, tiny: Path) -> None:
    measured()
    run = matrix.runs[1]
    resumed = {"type": "started", "engine": "e", "resumed_step": 9, "numerics": {"optimiser.adam": 0}}
    _journal(home, run.run_id, "train", resumed, {"type": "checkpointed", "step": 18, "file": "c", "seconds": 1})
    cells = _cells(call("report", tiny, "--json").out)
    assert [cell.get("mixed") for cell in cells] == [False, True, False]
    out = call("report", tiny, "--format", "md").out
    assert f"‡ trained under several versions, optimiser.adam 0 and 1: {run.name}" in out
    assert f"`cebctl submit {tiny} --again train`" in out
    assert "‡ trained under several versions: optimiser.adam 0 and 1" in call("show", run.run_id).out
    shown = json.loads(call("show", run.run_id, "--json").out)
    assert shown["training"]["mixed"] == ["optimiser.adam 0 and 1"]
    assert shown["results"][0]["changed"] == shown["training"]["raised"] == ["optimiser.adam"]
