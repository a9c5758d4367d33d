"""What a look at runs on a cluster finds, whatever happens while it looks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.planning.plan import make_plan
from cebctl.status import collect, slurm_queue
from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.matrix_status import collect_matrix_status
from cebctl.submission.submit import pending_stages
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.resources import Resources
from jobs.journal import records
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Failed, Launched, Preempted, Started, Submitted, Succeeded
from jobs.paths import Home
from jobs.processes import Process
from jobs.slurm.client import TaskStatus
from tests.cebctl.conftest import claim, dead_process, submitted


@pytest.fixture
def matrix(small: Path) -> Matrix:
    whole = load(small)
    return whole.select("objective=xent")


@pytest.fixture
def there(home: Path, small: Path, matrix: Matrix) -> Home:
    """The training of one run, as the only element of an array."""
    there = Home(home)
    (planned,) = matrix.runs
    with Journal(there.submission("20260101-000000-aaaa")) as journal:
        journal.write(
            Submitted(name="20260101-000000-aaaa", matrix="small", matrix_path=str(small), executor="slurm", code="c"),
            records.PlannedArray(job="ceb-a", stage="train", resources=Resources()),
            Claim(run_id=planned.run_id, label="", stage="train", spec=msgspec.to_builtins(planned.run), job="ceb-a",
                  index=0),
            Launched(job="ceb-a", executor_id="7"),
        )  # fmt: skip
    return there


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the controller say this of the element, and something happen before its answer arrives."""
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "0")

    def says(state: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        def answer(_names: object) -> list[TaskStatus]:
            meanwhile()
            return [TaskStatus("ceb-a", 0, "7_0", state)]

        monkeypatch.setattr(slurm_queue.client, "query_squeue", answer)

    return says


def attempt(there: Home, run_id: str, *ends: Any) -> None:
    with Journal(there.run(run_id).journal("train", 1)) as journal:
        journal.write(Started(submission="20260101-000000-aaaa", job="7_0"), *ends)


@pytest.mark.parametrize("end", [Preempted(reason="timeout"), Failed(error="x")])
def test_what_may_start_again_is_not_offered_before_slurm_has_ended_it(there: Home, matrix: Matrix, slurm, end) -> None:
    (planned,) = matrix.runs
    attempt(there, planned.run_id, end)
    with open_home(there) as store:
        slurm("RUNNING")
        runs = collect_statuses(matrix, store, there)
        assert runs[0].stages[0].state == "queued" and not pending_stages(runs, retry_failed=True)
        slurm("FAILED")
        assert collect_statuses(matrix, store, there)[0].stages[0].state in ("lost", "failed")


def test_what_begins_and_ends_while_somebody_looks_is_done(there: Home, matrix: Matrix, slurm) -> None:
    (planned,) = matrix.runs
    slurm("COMPLETED", meanwhile=lambda: attempt(there, planned.run_id, Succeeded()))
    with open_home(there) as store:
        assert collect_statuses(matrix, store, there)[0].stages[0].state == "done"


@pytest.mark.parametrize("fresh", [True, False], ids=["status", "plan"])
@pytest.mark.parametrize("reading", [1, 2])
@pytest.mark.parametrize("swapped", [True, False])
def test_a_run_that_ends_while_somebody_looks_is_not_offered_though_another_is_lost(
    home: Path, small: Path, monkeypatch: pytest.MonkeyPatch, swapped: bool, reading: int, fresh: bool
) -> None:
    matrix, home_paths, readings = load(small).select("objective = ceb"), Home(home), 0
    lost, ending = reversed(matrix.runs) if swapped else matrix.runs
    worker = subprocess.Popen(["sleep", "100"])
    workers = {lost.run_id: dead_process(), ending.run_id: Process.from_pid(worker.pid)}
    for run_id, process in workers.items():
        name = f"20260101-000000-{run_id[-4:]}"
        (planned,) = (run for run in matrix.runs if run.run_id == run_id)
        with Journal(home_paths.submission(name)) as journal:
            journal.write(submitted(name, small), claim(planned, "train"), claim(planned, "evaluate"))
            journal.write(Launched(job=name, executor_id=str(process)))

    newest_jobs = collect._newest_jobs

    def read_then_end(*arguments: Any) -> Any:
        nonlocal readings
        jobs, readings = newest_jobs(*arguments), readings + 1
        if readings == reading:
            with Journal(home_paths.run(ending.run_id).journal("train", 1)) as journal:
                journal.write(Started(submission=f"20260101-000000-{ending.run_id[-4:]}"), Succeeded())
            worker.kill()
            worker.wait()
        return jobs

    monkeypatch.setattr(collect, "_newest_jobs", read_then_end)
    with open_home(home_paths) as store:
        runs = collect_matrix_status(matrix, store, home_paths, fresh=fresh).runs
    assert {run.planned.run_id: run.stages[0].state for run in runs} == {
        lost.run_id: "new",
        ending.run_id: "done" if reading == 1 else "queued",
    }
    worker.kill()


def test_a_plan_reads_what_the_store_has_not_read_and_writes_nothing(finished: Home, small: Path) -> None:
    matrix = load(small)
    ends = sorted(finished.runs.glob("*/journal/evaluate.1.jsonl"))
    texts = [path.read_bytes() for path in ends]
    for path in ends:
        path.unlink()
    with open_home(finished) as store:
        assert {run.state for run in collect_statuses(matrix, store, finished)} == {"new"}
    for path, text in zip(ends, texts, strict=True):
        path.write_bytes(text)
    before = {path: path.read_bytes() for path in sorted(finished.folder.rglob("*")) if path.is_file()}
    assert {run.state for run in make_plan(matrix, finished).runs} == {"done"}
    assert before == {path: path.read_bytes() for path in sorted(finished.folder.rglob("*")) if path.is_file()}
