"""`cancel` of local workers: what runs stops with a checkpoint, what waits is passed over, and submit offers both."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from cebctl.submission.cancel import _is_forbidden
from experiments.matrix.load import load
from jobs.paths import Home
from jobs.processes import Process

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 100000, batch: 256}
grids: [{objective: ceb, rho: [3, 2, 1]}]
evaluate: [clean]
"""


def _until(journal: Path, record: bytes, seconds: float = 120) -> None:
    """Return once a journal holds a record."""
    deadline = time.monotonic() + seconds
    while not (journal.exists() and record in journal.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_cancelled_runs_stop_and_are_offered_again(cebctl, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(MATRIX)
    runs = [Home(home).run(planned.run_id) for planned in load(path).runs]

    def states() -> list[str]:
        return [run["state"] for run in json.loads(cebctl("status", path, "--json").out)["runs"]]

    cebctl("submit", path, "--workers", "1")
    _until(runs[0].journal("train", 1), b'"heartbeat"')
    waiting = cebctl("cancel", path, "--only", "rho = 2")
    assert (waiting.code, waiting.err) == (
        0, f"{path}: cancelled 1 x train, 1 x evaluate; `cebctl submit` offers them again\n",
    )  # fmt: skip
    assert states() == ["running", "new", "queued"]

    both = cebctl("cancel", path)
    assert "cancelled 2 x train, 2 x evaluate, 1 of them running" in both.err
    _until(runs[0].journal("train", 1), b'"preempted"')
    assert states() == ["lost", "new", "new"]
    assert any(runs[0].checkpoints.iterdir())
    assert [len(run.attempts("train")) for run in runs] == [1, 0, 0]
    assert "rho=3, train: cancelled; checkpoint of step" in cebctl("status", path).err
    assert "nothing to cancel, none of its 3 runs is queued or running" in cebctl("cancel", path).err
    assert cebctl("plan", path, "--detailed-exitcode").code == 4


def test_what_a_colleague_submitted_is_shown_as_theirs_and_left_alone(cebctl, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(MATRIX.replace("[3, 2, 1]", "3"))
    paths = Home(home).run(load(path).runs[0].run_id)
    cebctl("submit", path, LOGNAME="alice")
    _until(paths.journal("train", 1), b'"heartbeat"')
    assert "alice's" in cebctl("status", path, LOGNAME="bob").out
    assert "alice's" not in cebctl("status", path, LOGNAME="alice").out
    left = cebctl("cancel", path, LOGNAME="bob")
    assert (left.code, left.err) == (0, f"{path}: 2 of alice's left alone; --others cancels them too\n")
    [run] = json.loads(cebctl("status", path, "--json", LOGNAME="bob").out)["runs"]
    assert (run["state"], run["submitted_by"]) == ("running", "alice")
    assert (
        "cancelled 1 x train, 1 x evaluate, 1 of them running" in cebctl("cancel", path, "--others", LOGNAME="bob").err
    )
    _until(paths.journal("train", 1), b'"preempted"')


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_process_is_known_to_be_out_of_reach() -> None:
    process = Process.current()
    assert not _is_forbidden(process)
    child = os.fork()
    if child == 0:
        os.setuid(64_001)
        os._exit(17 if _is_forbidden(process) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_workers_end_with_their_home(cebctl, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(MATRIX)
    run = Home(home).run(load(path).runs[0].run_id)
    cebctl("submit", path, "--workers", "1")
    _until(run.journal("train", 1), b'"heartbeat"')
    worker = Process.parse(msgspec.json.decode(run.lease("train").read_bytes())["process"])
    assert worker is not None
    shutil.rmtree(home)
    deadline = time.monotonic() + 60
    while worker.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    assert not home.exists() or not list(home.glob("runs/*"))
