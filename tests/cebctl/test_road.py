"""The whole road on real processes: submit, kill -9, submit again, the same table."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from experiments.matrix.load import load
from jobs.attempt import lease
from jobs.journal.files import read
from jobs.journal.records import Died, Failed, Started
from jobs.paths import STAGES, Home
from jobs.processes import Process


def _table(cebctl, matrix: Path) -> list[dict[str, str]]:
    answer = cebctl("report", matrix, "--format", "csv")
    assert answer.code == 0, answer.err
    return list(csv.DictReader(io.StringIO(answer.out)))


def _kill(process: Process) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


def _workers(home: Home) -> list[Process]:
    records = [r for path in home.submissions.glob("*.jsonl") for r in read(path).records]
    processes = [Process.parse(getattr(record, "executor_id", "")) for record in records]
    return [process for process in processes if process]


def _children(pid: int) -> list[int]:
    return [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]


def _kill_everything(home: Home) -> None:
    """kill -9 of every worker of every submission and of all below it, top down."""
    todo = [worker.pid for worker in _workers(home) if worker.is_alive()]
    while todo:
        pid = todo.pop()
        children = _children(pid)
        os.kill(pid, signal.SIGKILL)
        todo += children


def _running(home: Home, matrix: Path) -> list[str]:
    return [
        run.run_id for run in load(matrix).runs for stage in STAGES if lease.is_held(home.run(run.run_id).lease(stage))
    ]


def _wait_until(condition, event: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited for {event}"
        time.sleep(0.02)


def test_the_road_from_matrix_to_table(cebctl, tiny: Path, home: Path) -> None:
    submitted = cebctl("submit", tiny, "--wait")
    assert submitted.code == 0, submitted.err
    assert "submitted 3 x train, 3 x evaluate to 2 local workers" in submitted.err
    assert "3 runs: 3 done" in submitted.err
    assert submitted.out == ""

    again = cebctl("submit", tiny, "--wait")
    assert (again.code, "nothing to submit" in again.err) == (0, True)
    assert len(list(home.glob("submissions/*"))) == 1

    report = json.loads(cebctl("report", tiny, "--json").out)
    (table,) = report["tables"]
    assert table["columns"] == ["clean", "rate", "residual_information", "conditional_entropy", "pgd_linf"]
    cells = table["rows"][1]["cells"]
    assert table["rows"][1]["axes"] == {"objective": "ceb", "rho": 3.0}
    assert cells["clean"]["n"] == 360 and cells["pgd_linf"]["n"] == 100
    assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in cells.values())
    assert table["rows"][0]["cells"]["residual_information"] == {"missing": "not defined for xent"}

    status = json.loads(cebctl("status", tiny, "--json").out)
    assert status["counts"]["done"] == 3
    run_id = status["runs"][1]["run_id"]
    assert "residual_information" in cebctl("show", run_id[:6]).out
    assert "succeeded" in cebctl("logs", run_id).out
    assert json.loads(cebctl("show", run_id, "--json").out)["jobs"][0]["state"] == "succeeded"
    assert (home / "runs" / run_id / "provenance.json").exists()

    # The database is a cache: without it everything is still known.
    before = _table(cebctl, tiny)
    for path in home.glob("store.sqlite*"):
        path.unlink()
    assert json.loads(cebctl("plan", tiny, "--json").out)["totals"]["done"] == 3
    assert not list(home.glob("store.sqlite*"))
    assert _table(cebctl, tiny) == before

    # A benchmark added later runs on the trained models, and nothing is trained again.
    tiny.write_text(
        tiny.read_text().replace("evaluate: [clean,", "evaluate: [clean, pgd: {norm: l2, eps: 0.5, steps: 2},")
    )
    added = cebctl("submit", tiny, "--wait")
    assert "submitted 3 x evaluate to 2 local workers" in added.err
    assert {row["column"] for row in _table(cebctl, tiny)} >= {"pgd_l2", "pgd_linf"}


def test_killed_half_way_and_started_again_the_table_is_the_same(cebctl, start, tiny: Path, home: Path) -> None:
    tiny.write_text(tiny.read_text().replace("epochs: 4", "epochs: 40"))
    undisturbed = {"CEBCTL_HOME": str(home.with_name("undisturbed"))}
    assert cebctl("submit", tiny, "--wait", **undisturbed).code == 0
    expected = list(csv.DictReader(io.StringIO(cebctl("report", tiny, "--format", "csv", **undisturbed).out)))

    home_paths = Home(home)
    for _ in range(2):  # killed twice, wherever it is then
        process = start("submit", tiny, "--wait")
        _wait_until(lambda: _running(home_paths, tiny), "a run to start")
        time.sleep(0.3)
        process.kill()
        process.communicate()
        _kill_everything(home_paths)
        _wait_until(lambda: not _running(home_paths, tiny), "the runs to be gone")
    assert "lost" in cebctl("status", tiny).out
    final = cebctl("submit", tiny, "--wait")
    assert final.code == 0, final.err
    assert _table(cebctl, tiny) == expected


def test_a_killed_run_is_lost_and_the_others_go_on(cebctl, start, tiny: Path, home: Path) -> None:
    tiny.write_text(tiny.read_text().replace("epochs: 4", "epochs: 200"))
    home_paths = Home(home)
    process = start("submit", tiny, "--wait", "--workers", "1")
    _wait_until(lambda: _running(home_paths, tiny), "a run to start")
    first = _running(home_paths, tiny)[0]
    holder = lease.read_holder(home_paths.run(first).lease("train"))
    assert holder is not None
    victim = Process.parse(holder.process)
    assert victim is not None
    _kill(victim)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "lost" in err and "SIGKILL" in err and "2 done" in err
    assert isinstance(read(home_paths.run(first).journal("train", 1)).records[-1], Died)
    assert cebctl("submit", tiny, "--wait").code == 0


def test_cebctl_killed_alone_leaves_the_runs_running(cebctl, start, tiny: Path, home: Path) -> None:
    process = start("submit", tiny, "--wait")
    _wait_until(lambda: _running(Home(home), tiny), "a run to start")
    process.kill()
    process.communicate()
    answer = cebctl("submit", tiny, "--wait")
    assert answer.code == 0
    assert "nothing to submit" in answer.err
    assert all(
        len([r for r in read(Home(home).run(run.run_id).journal("train", 1)).records if isinstance(r, Started)]) == 1
        for run in load(tiny).runs
    )


def test_two_submitters_at_once_submit_every_run_once(cebctl, start, tiny: Path, home: Path) -> None:
    both = [start("submit", tiny, "--wait") for _ in range(2)]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sum("nothing to submit" in text for text in errors) == 1
    for run in load(tiny).runs:
        assert Home(home).run(run.run_id).attempts("train") == [1]


def test_a_run_that_becomes_nan_fails_alone_and_says_where(cebctl, tiny: Path, home: Path) -> None:
    tiny.write_text(tiny.read_text().replace("[3, 0]}", "[3, 0]}\n  - {objective: xent, lr: 1e30}"))
    answer = cebctl("submit", tiny, "--wait")
    assert answer.code == 1
    assert "3 done, 1 failed" in answer.err
    status = json.loads(cebctl("status", tiny, "--json").out)
    (failed,) = [run for run in status["runs"] if run["state"] == "failed"]
    assert "step" in failed["error"]
    journal = read(Home(home).run(failed["run_id"]).journal("train", 1)).records
    assert isinstance(journal[-1], Failed) and journal[-1].kind in ("nan", "exploded")
    assert "missing, failed: " in cebctl("report", tiny).out
    assert "nothing to submit" in cebctl("submit", tiny).err
    retried = cebctl("submit", tiny, "--retry-failed", "--wait")
    assert retried.code == 1 and "submitted 1 x train" in retried.err


@pytest.mark.data
def test_the_same_road_on_real_cifar10(cebctl, tmp_path: Path) -> None:
    data = Path(os.environ.get("CEBCTL_DATA") or "data")
    if not (data / "cifar10-jpeg").is_dir():
        pytest.skip(f"no {data / 'cifar10-jpeg'}: unpack cifar10-jpeg.tar.gz there, or name its folder in CEBCTL_DATA")
    matrix = tmp_path / "cifar.yaml"
    matrix.write_text(
        "base:\n  data: {name: cifar10-jpeg, train_subset: 200, augment: crop_flip}\n"
        "  network: {name: wide_resnet, blocks: 1, width: 1, z_dim: 16}\n"
        "  optimiser: adam\n  epochs: 1\n  batch: 50\n"
        "grids: [{objective: xent}, {objective: [ceb, cceb], rho: 3}]\n"
        "evaluate: [pgd: {norm: linf, eps: 2/255, steps: 2, subset: 50}]\n"
    )
    answer = cebctl("submit", matrix, "--wait", CEBCTL_DATA=str(data.absolute()))
    assert answer.code == 0, answer.err
    report = cebctl("report", matrix, "--json")
    (table,) = json.loads(report.out)["tables"]
    assert [row["cells"]["pgd_linf"]["n"] for row in table["rows"]] == [50, 50, 50]
    assert any("not comparable with CIFAR-10" in note for note in json.loads(report.out)["notes"])


def test_a_truncated_data_file_stops_the_submission(cebctl, tiny: Path, home: Path) -> None:
    batches = tiny.parent / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    (batches / "data_batch_1").write_bytes(b"torn")
    tiny.write_text(tiny.read_text().replace("data: digits", "data: cifar10"))
    answer = cebctl("submit", tiny, CEBCTL_DATA=str(tiny.parent / "data"))
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert f"{batches / 'data_batch_1'} is truncated or changed" in answer.err
    assert not home.exists()


def test_a_damaged_journal_line_is_shown(cebctl, tiny: Path, home: Path) -> None:
    assert cebctl("submit", tiny, "--wait").code == 0
    journal = Home(home).run(load(tiny).runs[0].run_id).journal("train", 1)
    with journal.open("ab") as file:
        file.write(b"{nonsense\n")
    answer = cebctl("status", tiny)
    assert answer.code == 0
    assert "1 line could not be read" in answer.err
    with sqlite3.connect(home / "store.sqlite") as store:
        assert store.execute("select count(*) from runs").fetchone() == (3,)


def test_attacks_made_on_another_run_follow_its_training_and_runs_are_compared(cebctl, tiny: Path, home: Path) -> None:
    transfer = "transfer: {source: objective = xent, norm: linf, eps: 0.1, steps: 2, subset: 50}"
    tiny.write_text(tiny.read_text().replace("evaluate: [clean,", f"evaluate: [clean, {transfer},"))
    first = cebctl("submit", tiny, "--only", "rho = 3", "--wait")
    assert first.code == 1 and "submitted 1 x train, 1 x evaluate" in first.err
    report = cebctl("report", tiny, "--only", "rho = 3").out.replace("\n", " ")
    assert "missing, its source r" in report and "is not trained" in report
    answer = cebctl("submit", tiny, "--wait")
    assert answer.code == 0, answer.err
    assert "submitted 2 x evaluate" in answer.err
    assert "transfer_linf" in {row["column"] for row in _table(cebctl, tiny) if row["n"] == "50"}

    compared = json.loads(cebctl("report", tiny, "--compare", "xent", "rho = 3", "--json").out)
    assert {comparison["benchmark"] for comparison in compared["comparisons"]} == {
        "clean",
        "pgd_linf@eps=0.1,n=3,subset=100",
    }
    assert all(
        0 <= comparison["p"] <= 1 and comparison["low"] <= comparison["difference"] <= comparison["high"]
        for comparison in compared["comparisons"]
    )
    for wrong in (("xent", "xent"), ("objective = ceb", "xent"), ("nonsense", "xent")):
        refused = cebctl("report", tiny, "--compare", *wrong)
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_a_source_that_is_not_there_fails_that_benchmark_alone(cebctl, tiny: Path, home: Path) -> None:
    """Trained when it was claimed, its checkpoints gone when the job looks."""
    assert cebctl("submit", tiny, "--wait").code == 0
    source = load(tiny).runs[0].run_id
    for path in Home(home).run(source).checkpoints.iterdir():
        path.unlink()
    extra = "transfer: {source: objective = xent, norm: linf, eps: 0.1, steps: 2}, pgd: {norm: l2, eps: 0.5, steps: 2}"
    tiny.write_text(tiny.read_text().replace("evaluate: [clean,", f"evaluate: [clean, {extra},"))
    answer = cebctl("submit", tiny, "--only", "objective = ceb", "--wait")
    assert answer.code == 1
    table = _table(cebctl, tiny)
    cells = {(row["run_ids"], row["column"]): row for row in table}
    target = load(tiny).runs[1].run_id
    assert cells[target, "pgd_l2"]["value"]
    assert f"the source {source} of transfer" in cells[target, "transfer_linf"]["missing"]
