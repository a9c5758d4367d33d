"""What a look at runs on a cluster finds, whatever happens while it looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.status import slurm_queue
from cebctl.status.collect import collect_statuses, open_home
from cebctl.submission.submit import pending_stages
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.resources import Resources
from jobs.journal import records
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Failed, Launched, Preempted, Started, Submitted, Succeeded
from jobs.paths import Home
from jobs.slurm.client import TaskStatus


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
