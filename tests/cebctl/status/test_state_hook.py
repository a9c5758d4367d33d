"""The user's hook: told of every change once, and no danger to the command that tells it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
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
    allow(finished)
    return path


def allow(home: Home) -> None:
    hook = state_hook.configured_hook(home)
    assert hook
    state_hook.remember_answer(hook, allowed=True)


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


def test_a_hook_that_came_with_a_folder_is_asked_for_once(finished: Home, small: Path, log: Path) -> None:
    config, script = finished.folder / "config.yaml", finished.folder / "notify.sh"
    assert "Allow it?" not in on_a_terminal(small, "")
    assert len(told(log)) == 1
    script.write_text(script.read_text() + "# changed\n")
    assert f"{config} calls `./notify.sh '{log}'` with the content of {script}" in on_a_terminal(small, "n")
    assert "is not run: you refused it" in on_a_terminal(small, "")
    config.write_text(f"on_state_change: tee -a '{log}'\n")
    assert f"calls `tee -a '{log}'` when" in on_a_terminal(small, "y")
    assert "Allow it?" not in on_a_terminal(small, "")
    assert len(told(log)) == 1, "nothing changed since"


def on_a_terminal(matrix: Path, answer: str) -> str:
    """Return what `status` writes to a terminal on which somebody types an answer."""
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "cebctl.app", "status", str(matrix)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "COLUMNS": "10000"}
    streams = {"stdin": theirs, "stdout": subprocess.DEVNULL, "stderr": theirs}
    with subprocess.Popen(command, env=environment, start_new_session=True, **streams) as process:
        os.close(theirs)
        os.write(terminal, f"{answer}\n".encode())
        text = b""
        with suppress(OSError):  # the other side is closed
            while piece := os.read(terminal, 65536):
                text += piece
    os.close(terminal)
    assert process.returncode == 0, text
    return " ".join(text.decode().split())


def test_where_nobody_can_be_asked_a_new_hook_is_not_run(call, finished: Home, small: Path, log: Path) -> None:
    for name, text in (("notify.sh", "#!/bin/sh\ntouch planted\n"), ("config.yaml", "on_state_change: touch planted")):
        (finished.folder / name).write_text(text)
        answer = call("status", small)
        assert (answer.code, len(answer.err.splitlines())) == (0, 1)
        assert "config.yaml is not run: you have not allowed it yet; `cebctl status` on a terminal asks" in answer.err
        assert not (finished.folder / "planted").exists()
    allow(finished)
    assert call("status", small).err == ""
    assert (finished.folder / "planted").exists(), "what changed in between is told"


def test_an_answer_that_others_could_have_given_is_none(call, finished: Home, small: Path, log: Path) -> None:
    hook = state_hook.configured_hook(finished)
    assert hook and state_hook.is_allowed(hook)
    state_hook._answer(hook).chmod(0o666)
    assert not state_hook.is_allowed(hook)


@pytest.mark.parametrize("name", ["config.yaml", "notify.sh", "."])
def test_nobody_elses_command_is_run(call, finished: Home, small: Path, log: Path, name: str) -> None:
    place = finished.folder / name
    mode = place.stat().st_mode
    place.chmod(mode | 0o002)
    answer = call("status", small)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert f"{place}: can be written by everybody" in answer.err
    if os.geteuid() == 0:  # only root can give files away
        place.chmod(mode)
        os.chown(place, 1000, -1)
        answer = call("status", small)
        assert answer.code == 2 and f"{place}: belongs to " in answer.err
    assert told(log) == []
