"""`submit --again` by the command line, with real workers that are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.attempt import lease
from jobs.journal.ownership import iter_records
from jobs.journal.records import Checkpointed, Claim, Heartbeat, Result, Resumed, Started
from jobs.paths import Home, RunPaths
from jobs.processes import Process

pytestmark = pytest.mark.fault

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 8, z_dim: 8}, optimiser: adam, epochs: 40, batch: 32}
grids: [{objective: ceb, rho: 3}]
evaluate: [clean, pgd: {norm: linf, eps: 0.1, steps: 400}]
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    return path


def cell(cebctl: Any, matrix: Path, column: str) -> dict[str, Any]:
    answer = cebctl("report", matrix, "--json")
    assert answer.code == 0, answer.err
    cell: dict[str, Any] = json.loads(answer.out)["tables"][-1]["rows"][0]["cells"][column]
    return cell


def state(cebctl: Any, matrix: Path) -> tuple[str, str, list[int]]:
    """The run's state, and its stages' generations."""
    (run,) = json.loads(cebctl("status", matrix, "--json").out)["runs"]
    return run["run_id"], run["state"], [stage.get("generation", 1) for stage in run["stages"]]


def stop(paths: RunPaths, stage: Any, attempt: int, signum: int) -> None:
    """Stop an attempt, and if it is killed its worker with it, as soon as it is at work."""
    deadline = time.monotonic() + 120
    journal = paths.journal(stage, attempt)
    while not (journal.exists() and any(iter_records(journal)) and lease.is_held(paths.lease(stage))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    holder = lease.read_holder(paths.lease(stage))
    assert holder and holder.attempt == attempt
    process = Process.parse(holder.process)
    assert process
    worker = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    if signum == signal.SIGTERM:
        while not any(isinstance(record, Heartbeat) for record in iter_records(journal)):
            time.sleep(0.05)
    os.kill(worker if signum == signal.SIGKILL else process.pid, signum)  # the attempt dies with its worker
    while process.is_alive():
        time.sleep(0.01)


def claims(home: Home) -> list[tuple[str, int, int]]:
    records = (record for path in sorted(home.submissions.glob("*.jsonl")) for record in iter_records(path))
    return [
        (record.stage, record.generation, len(record.benchmarks)) for record in records if isinstance(record, Claim)
    ]


@pytest.mark.timeout(600)
def test_benchmarks_are_measured_again_through_a_kill(cebctl, start, home: Path, matrix: Path) -> None:
    first = cebctl("submit", matrix, "--wait")
    assert first.code == 0, first.err
    home_paths = Home(home)
    paths = home_paths.run(state(cebctl, matrix)[0])
    old, before = cell(cebctl, matrix, "pgd_linf"), paths.journal("evaluate", 1).read_bytes()
    assert "nothing to submit" in cebctl("submit", matrix).err

    # Two at once: one of them submits it, the other leaves it to that one.
    both = [start("submit", matrix, "--again", "pgd, norm = linf") for _ in range(2)]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sorted("submitted 1 x evaluate" in err for err in errors) == [False, True], errors
    assert any("nothing to submit, 1 run: 1 " in err for err in errors), errors
    stop(paths, "evaluate", 2, signal.SIGKILL)
    assert state(cebctl, matrix)[1:] == ("lost", [1, 2])
    assert cell(cebctl, matrix, "pgd_linf") == old, "the old number, until the new one is there"

    # Whoever submits goes on with it, in its generation.
    assert cebctl("submit", matrix, "--wait").code == 0
    assert state(cebctl, matrix)[1:] == ("done", [1, 2])
    assert "nothing to submit" in cebctl("submit", matrix).err
    attempts = [list(iter_records(paths.journal("evaluate", number))) for number in (2, 3)]
    assert [record.generation for records in attempts for record in records if isinstance(record, Started)] == [2, 2]
    (result,) = (record for record in attempts[1] if isinstance(record, Result))
    assert (result.generation, type(result.benchmark).__name__) == (2, "Pgd")
    new = cell(cebctl, matrix, "pgd_linf")
    assert (new["value"], new.get("generation")) == (old["value"], 2)
    assert cell(cebctl, matrix, "clean").get("generation", 1) == 1
    assert paths.journal("evaluate", 1).read_bytes() == before and not any(paths.partial.glob("*/*"))
    assert claims(home_paths) == [("train", 1, 0), ("evaluate", 1, 2), ("evaluate", 2, 1), ("evaluate", 2, 1)]

    # Asked a third time, once that is done, it measures a third time; a store that is read anew knows of it.
    assert cebctl("submit", matrix, "--again", "pgd", "--wait").code == 0
    assert cebctl("doctor", "--rebuild").code == 0
    assert state(cebctl, matrix)[1:] == ("done", [1, 3])
    assert "generation 3" in cebctl("show", paths.run_id).out


@pytest.mark.timeout(600)
def test_a_run_is_trained_again_beside_the_old_through_a_kill(cebctl, home: Path, matrix: Path) -> None:
    matrix.write_text(MATRIX.replace("steps: 400", "steps: 3"))
    assert cebctl("submit", matrix, "--wait").code == 0
    paths = Home(home).run(state(cebctl, matrix)[0])
    old = cell(cebctl, matrix, "clean")
    checkpoints = {path.name: path.read_bytes() for path in paths.checkpoints.iterdir()}

    assert cebctl("submit", matrix, "--again", "train").code == 0
    second = Home(home).run(paths.run_id, generation=2)
    stop(paths, "train", 2, signal.SIGKILL)
    assert state(cebctl, matrix)[1:] == ("lost", [2, 2])
    assert cell(cebctl, matrix, "clean") == old
    assert cebctl("gc", matrix, "--yes").code == 0
    assert {path.name: path.read_bytes() for path in paths.checkpoints.iterdir()} == checkpoints

    assert cebctl("submit", matrix).code == 0
    stop(paths, "train", 3, signal.SIGTERM)
    assert cebctl("submit", matrix, "--again", "train", "--wait").code == 0
    assert state(cebctl, matrix)[1:] == ("done", [2, 2])
    attempts = [list(iter_records(paths.journal("train", number))) for number in (1, 2, 3, 4)]
    begun = [records[0] for records in attempts]
    assert [record.generation for record in begun if isinstance(record, Started)] == [1, 2, 2, 2]
    resumed = [any(isinstance(record, Resumed) for record in records) for records in attempts]
    assert resumed == [False, False, False, True]
    assert {path.name: path.read_bytes() for path in paths.checkpoints.iterdir()} == checkpoints
    saved = [record.file for record in iter_records(paths.journal("train", 4)) if isinstance(record, Checkpointed)]
    assert saved[-1] == max(checkpoints), "the same training, bit for bit"
    new = cell(cebctl, matrix, "clean")
    assert (new["value"], new.get("generation")) == (old["value"], 2)
    assert cebctl("gc", matrix, "--yes").code == 0
    assert not any(paths.checkpoints.iterdir()) and len(list(second.checkpoints.iterdir())) == 1
