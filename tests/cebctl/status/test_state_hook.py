"""The user's hook: told of every change once, and no danger to the command that tells it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cebctl.status import state_hook
from jobs.journal.files import Journal
from jobs.journal.records import Failed, Started
from jobs.paths import Home


@pytest.fixture
def log(finished: Home) -> Path:
    """Where the hook, a script beside the configuration, writes what it is told."""
    script = finished.folder / "notify.sh"
    script.write_text('#!/bin/sh\ncat >> "$1"; echo >> "$1"\n')
    script.chmod(0o755)
    path = finished.folder.parent / "a log"
    (finished.folder / "config.yaml").write_text(f"on_state_change: ./notify.sh '{path}'\n")
    return path


def told(log: Path) -> list[Any]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_each_change_is_told_once(call, finished: Home, small: Path, log: Path) -> None:
    call("status", small)
    call("status", small)
    [first] = told(log)
    assert first["matrix"] == str(small) and first["home"] == str(finished.folder)
    assert [(c["before"], c["after"], c["error"]) for c in first["changes"]] == [("new", "done", None)] * 3

    run_id = first["changes"][1]["run_id"]
    with Journal(finished.run(run_id).journal("train", 2)) as journal:
        journal.write(Started(submission="s1", host="node7"), Failed(error="the loss is nan at step 7", kind="nan"))
    call("status", small, "--only", "objective=xent")
    assert len(told(log)) == 1
    assert call("status", small).code == 1
    [change] = told(log)[1]["changes"]
    assert {key: change[key] for key in ("run_id", "name", "stage", "before", "after", "error", "host")} == {
        "run_id": run_id,
        "name": "ceb rho=3",
        "stage": "train",
        "before": "done",
        "after": "failed",
        "error": "the loss is nan at step 7",
        "host": "node7",
    }


def test_the_environment_comes_first(call, small: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = log.with_name("mine")
    monkeypatch.setenv("CEBCTL_ON_STATE_CHANGE", f"tee -a '{mine}'")
    call("status", small)
    assert (len(mine.read_text()) > 100, told(log)) == (True, [])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo no mail today >&2; exit 3'", "on_state_change: sh ended with exit code 3: no mail today"),
        ("/nowhere/notify", "No such file or directory: '/nowhere/notify'"),
        ("sleep 60", "timed out after 0.2 seconds"),
        ("true", ""),
    ],
)
def test_a_hook_that_fails_is_a_word_and_no_more(
    call, small: Path, log: Path, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setenv("CEBCTL_ON_STATE_CHANGE", command)
    monkeypatch.setattr(state_hook, "TIMEOUT_SECONDS", 0.2 if "sleep" in command else 30.0)
    answer = call("status", small)
    assert (answer.code, len(answer.err.splitlines())) == (0, bool(said))
    assert said in answer.err
    assert json.loads(call("status", small, "--json").out)["counts"]["done"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on_change: ./notify.sh", "config.yaml:1:1: unknown field 'on_change'; allowed: on_state_change"),
        ("on_state_change: [a, b]", "config.yaml:1:18: on_state_change: expected a command"),
        ('on_state_change: "echo \'oh"', "is no command: No closing quotation"),
    ],
)
def test_a_configuration_with_a_fault(call, finished: Home, small: Path, text: str, said: str) -> None:
    (finished.folder / "config.yaml").write_text(text)
    answer = call("status", small)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert said in answer.err


def test_nobody_elses_command_is_run(call, small: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    monkeypatch.setattr(state_hook, "ROOT", me + 2)
    answer = call("status", small)
    assert answer.code == 2 and "belongs to another user, whose commands are not run" in answer.err
    assert told(log) == []
