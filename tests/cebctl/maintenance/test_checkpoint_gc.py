"""Which checkpoints go, which stay, and what that means for later."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cebctl.maintenance import checkpoint_gc
from cebctl.status import states
from cebctl.status.collect import open_home
from cebctl.status.matrix_status import collect_matrix_status
from cebctl.status.rerun import parse_selections
from cebctl.submission import prerequisites
from experiments.benchmarks import Pgd, Transfer
from experiments.matrix.load import load
from jobs import checkpoint_files
from jobs.attempt import lease
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Started
from jobs.paths import Home


def steps(home: Home, matrix: Path) -> list[list[int]]:
    """The steps of the checkpoints of each run."""
    return [
        sorted(found.step for found in checkpoint_files.newest_first(home.run(run.run_id).checkpoints))
        for run in load(matrix).runs
    ]


def other_files(home: Home) -> dict[Path, bytes]:
    """Everything but checkpoints and the store."""
    return {
        path: path.read_bytes()
        for path in home.folder.rglob("*")
        if path.is_file() and path.suffix in (".jsonl", ".json")
    }


def test_the_last_checkpoint_stays(call, finished: Home, small: Path) -> None:
    before = other_files(finished)
    answer = call("gc", small, "--yes")
    assert answer.code == 0
    assert "freed 3 files of 3 runs, 3.0 kB" in answer.out and "3 runs: keeps its last" in answer.out
    assert steps(finished, small) == [[4], [4], [4]]
    assert other_files(finished) == before
    assert "nothing" in call("gc", small, "--yes").out


def test_none_stays_on_request_and_no_result_is_lost(call, finished: Home, small: Path) -> None:
    before, report = other_files(finished), call("report", small, "--json").out
    assert call("gc", small, "--keep", "none", "--yes").code == 0
    assert steps(finished, small) == [[], [], []]
    assert other_files(finished) == before
    assert call("report", small, "--json").out == report
    assert "3 done" in call("status", small).out
    assert "nothing to submit" in call("submit", small).err


def test_only_some_runs(call, finished: Home, small: Path) -> None:
    call("gc", small, "--only", "rho=3", "--yes")
    assert steps(finished, small) == [[2, 4], [4], [2, 4]]


def test_a_dry_run_removes_nothing(call, finished: Home, small: Path) -> None:
    answer = call("gc", small, "--keep", "none", "--dry-run")
    assert (answer.code, "would free 6 files of 3 runs, 6.0 kB" in answer.out) == (0, True)
    assert steps(finished, small) == [[2, 4]] * 3


def test_nobody_to_ask(call, finished: Home, small: Path) -> None:
    answer = call("gc", small)
    assert (answer.code, "pass --yes" in answer.err) == (2, True)
    assert steps(finished, small) == [[2, 4]] * 3


@pytest.mark.parametrize(("reply", "left"), [("y", [4]), ("n", [2, 4]), ("", [2, 4])])
def test_somebody_to_ask(
    call, finished: Home, small: Path, reply: str, left: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{reply}\n"))
    answer = call("gc", small)
    assert answer.code == (0 if reply == "y" else 130)
    assert "Remove them?" in answer.out + answer.err
    assert steps(finished, small) == [left] * 3


@pytest.mark.parametrize("keep", ["last", "none"])
def test_unfinished_runs_lose_nothing(call, finished: Home, small: Path, keep: str) -> None:
    first, second, _ = load(small).runs
    finished.run(first.run_id).journal("evaluate", 1).unlink()
    with Journal(finished.run(second.run_id).journal("train", 2)) as journal:
        journal.write(Started(submission="s2"))
    answer = call("gc", small, "--keep", keep, "--yes")
    assert "2 runs: is not trained and evaluated" in answer.out
    assert steps(finished, small) == [[2, 4], [2, 4], [4] if keep == "last" else []]


def test_a_run_that_is_worked_on_is_passed_over(call, finished: Home, small: Path) -> None:
    held = lease.acquire(finished.run(load(small).runs[0].run_id).lease("evaluate"))
    assert held is not None
    answer = call("gc", small, "--keep", "none", "--yes")
    held.release()
    assert "1 run: is being worked on" in answer.out
    assert steps(finished, small) == [[2, 4], [], []]


def test_only_what_was_agreed_to_goes(finished: Home, small: Path) -> None:
    matrix = load(small)
    first, *others = matrix.runs
    with open_home(finished, create=True) as store:
        agreed = checkpoint_gc.plan_removals(matrix, store, finished, "last")
        # Between the question and the answer somebody trained the first run on.
        checkpoint_files.write(finished.run(first.run_id).checkpoints, 6, lambda file: file.write(b"later"))
        removed = checkpoint_gc.remove(agreed, matrix, store, finished, "last")
    assert [removal.planned for removal in removed.removals] == others
    assert removed.kept_runs["has changed meanwhile"] == 1
    assert steps(finished, small) == [[4, 6], [4], [4]]  # writing keeps the newest two


def test_an_evaluation_that_another_matrix_waits_for(call, finished: Home, small: Path) -> None:
    run = load(small).runs[0]
    extra = Claim(
        run_id=run.run_id,
        label="x",
        stage="evaluate",
        spec=_spec(finished, run.run_id),
        benchmarks=[Pgd(norm="l2", eps=0.5)],
    )
    with Journal(finished.submission("s2")) as journal:
        journal.write(extra)
    answer = call("gc", small, "--keep", "none", "--yes")
    assert "1 run: keeps its last: pgd l2 eps=0.5,n=20 has no result" in answer.out
    assert steps(finished, small) == [[4], [], []]


def test_a_run_that_another_will_be_attacked_from(call, finished: Home, small: Path) -> None:
    first, second, _ = load(small).runs
    attack = Transfer(source=first.run_id, norm="linf", eps=0.1)
    spec = _spec(finished, second.run_id)
    with Journal(finished.submission("s2")) as journal:
        journal.write(Claim(run_id=second.run_id, label="x", stage="evaluate", spec=spec, benchmarks=[attack]))
    assert "2 runs: keeps its last: transfer linf" in call("gc", small, "--keep", "none", "--yes").out
    assert steps(finished, small) == [[4], [4], []]


def test_benchmarks_that_cannot_run_yet_are_waited_for(
    call, finished: Home, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "is_runnable", lambda benchmark: getattr(benchmark, "norm", "") != "l2")
    small.write_text(small.read_text().replace("evaluate: [clean", "evaluate: [pgd: {norm: l2, eps: 0.5}, clean"))
    answer = call("gc", small, "--keep", "none", "--yes")
    assert "3 runs: keeps its last: pgd l2 eps=0.5,n=20 has no result" in answer.out
    assert steps(finished, small) == [[4]] * 3


def test_the_intact_one_stays_not_the_newest(call, finished: Home, small: Path) -> None:
    folder = finished.run(load(small).runs[0].run_id).checkpoints
    newest, _ = checkpoint_files.newest_first(folder)
    newest.path.write_bytes(b"y")
    (folder / ".000000005.1.part").write_bytes(b"z" * 10)
    call("gc", small, "--yes")
    assert steps(finished, small)[0] == [2]
    assert not list(folder.glob(".*.part"))


def test_without_an_intact_one_all_stay(call, finished: Home, small: Path) -> None:
    for found in checkpoint_files.newest_first(finished.run(load(small).runs[0].run_id).checkpoints):
        found.path.write_bytes(b"y")
    assert "1 run: has no intact checkpoint" in call("gc", small, "--yes").out
    assert steps(finished, small) == [[2, 4], [4], [4]]


def test_a_benchmark_that_comes_too_late_is_told_so(call, finished: Home, small: Path) -> None:
    call("gc", small, "--keep", "none", "--only", "objective=ceb", "--yes")
    small.write_text(small.read_text().replace("eps: 0.1, steps: 3", "eps: [0.1, 0.2], steps: 3"))
    submissions = list(finished.submissions.iterdir())
    answer = call("submit", small)
    first = load(small).runs[1]
    assert answer.code == 2
    assert answer.err.startswith(
        f"{finished.run(first.run_id).checkpoints}: ceb rho=3 (and 1 more) is trained, but its"
    )
    assert "cebctl gc" in answer.err and "train it again: `cebctl submit MATRIX --again train`" in answer.err
    assert list(finished.submissions.iterdir()) == submissions
    # And the way out works.
    plan = call("plan", small, "--only", "rho=3", "--again", "train", "--json")
    assert json.loads(plan.out)["totals"]["submitted"] == 2
    matrix = load(small)
    again = parse_selections(["train"], matrix)
    with open_home(finished) as store:
        runs = collect_matrix_status(matrix, store, finished, again=again).runs
        prerequisites.check_prerequisites(matrix, runs, store, finished, retry_failed=False, again=again)


def _spec(home: Home, run_id: str) -> Any:
    return json.loads(home.run(run_id).spec.read_text())
