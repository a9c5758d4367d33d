"""Runs that were submitted before their matrix was edited or removed: shown, counted and cancelled."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Launched
from jobs.paths import Home
from jobs.processes import Process
from tests.cebctl.conftest import SMALL, Cebctl, claim, submitted

NAME = "20260101-000000-aaaa"


@pytest.fixture
def edited(home: Path, small: Path) -> Path:
    """A matrix whose three runs wait for a worker, and of which two are then edited away."""
    with Journal(Home(home).submission(NAME)) as journal:
        runs = load(small).runs
        journal.write(submitted(NAME, small), *[claim(run, stage) for run in runs for stage in ("train", "evaluate")])
        journal.write(Launched(job="w", executor_id=str(Process.current()), pid=os.getpid()))
    small.write_text(SMALL.replace("[3, 0]", "[5]"))
    return small


def states(call: Cebctl, matrix: Path) -> list[str]:
    return [run["state"] for run in msgspec.json.decode(call("status", matrix, "--json").out)["runs"]]


def test_status_and_doctor_know_them(call: Cebctl, edited: Path) -> None:
    shown = call("status", edited).out
    assert "ceb rho=3" in shown and "ceb rho=0" in shown and f"submission {NAME}" in shown
    assert f"2 runs under way that no matrix asks for: `cebctl cancel --submission {NAME}` stops" in shown
    document = msgspec.json.decode(call("status", edited, "--json").out)
    assert {(run["name"], run["state"]) for run in document["earlier"]} == {
        ("ceb rho=3", "queued"), ("ceb rho=0", "queued"),
    }  # fmt: skip
    assert f"submission {NAME}: 2 runs under way that today's text of {edited}" in call("doctor").out
    edited.unlink()
    assert "3 runs under way that no matrix asks for" in call("status").out
    assert f"submission {NAME}: 3 runs under way" in call("doctor").out


def test_a_benchmark_that_was_edited_away_is_known_too(call: Cebctl, home: Path, small: Path, finished: Home) -> None:
    (xent, *_) = load(small).runs
    small.write_text(SMALL.replace("evaluate: [clean, ", "evaluate: [clean, information, "))
    more = next(run for run in load(small).runs if run.run_id == xent.run_id)
    with Journal(Home(home).submission(NAME)) as journal:
        journal.write(submitted(NAME, small), claim(more, "evaluate"))
        journal.write(Launched(job="w", executor_id=str(Process.current()), pid=os.getpid()))
    assert "under way that no matrix" not in call("status", small).out
    small.write_text(SMALL)
    assert "1 run under way that no matrix asks for" in call("status", small).out


def test_cancel_by_submission_whatever_became_of_the_file(call: Cebctl, edited: Path) -> None:
    edited.unlink()
    assert "cancelled 3 x train, 3 x evaluate" in call("cancel", "--submission", NAME).err
    assert "under way" not in call("status").out
    unknown = call("cancel", "--submission", "20260101-000000-aaab")
    assert unknown.code == 2 and f"did you mean '{NAME}'?" in unknown.err


def test_cancel_by_run(call: Cebctl, edited: Path) -> None:
    assert "cancelled 1 x train, 1 x evaluate" in call("cancel", "ceb rho=3").err
    assert "1 run under way that no matrix asks for" in call("status", edited).out
    assert states(call, edited) == ["queued", "new"]
    assert call("cancel", "nothing").code == 2
    assert call("cancel").code == 2 and call("cancel", edited, "--submission", NAME).code == 2


def test_cancel_of_the_edited_matrix_leaves_them_unless_told(call: Cebctl, edited: Path) -> None:
    answer = call("cancel", edited)
    assert "cancelled 1 x train, 1 x evaluate" in answer.err and "2 runs of an earlier text" in answer.err
    assert f"`cebctl cancel --submission {NAME}` stops them" in answer.err
    assert "cancelled 2 x train, 2 x evaluate" in call("cancel", edited, "--yes").err
    assert "under way" not in call("status", edited).out
