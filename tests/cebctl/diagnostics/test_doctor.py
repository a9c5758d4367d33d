"""Every kind of trouble is found, said in a line, and followed by what to do; and a rebuild puts the store right."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cebctl.diagnostics import environment_checks
from experiments import datasets
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Died, Launched, Started
from jobs.paths import Home
from jobs.processes import Process
from store.backends import sqlite

REBUILD = "`cebctl doctor --rebuild` sets the store aside and rebuilds it from the journals"


@pytest.fixture
def examined(call, finished: Home):  # type: ignore[no-untyped-def]
    """What `doctor --json` finds, after the store was filled."""
    call("status")

    def examined(*arguments: str) -> Any:
        answer = call("doctor", "--json", *arguments)
        found = json.loads(answer.out)
        assert answer.code == (1 if found["wrong"] else 0)
        assert all(finding["todo"] for finding in found["findings"] if finding["level"] == "wrong")
        return found

    return examined


def texts(found: Any, area: str, level: str = "wrong") -> list[str]:
    return [f["text"] for f in found["findings"] if (f["area"], f["level"]) == (area, level)]


def execute(home: Home, statement: str) -> None:
    with closing(sqlite3.connect(home.folder / "store.sqlite")) as connection:
        connection.execute(statement)
        connection.commit()


def test_nothing_is_wrong(call, finished: Home, small: Path) -> None:
    call("status")
    answer = call("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "3 runs; every row is the one that a rebuild gives" in answer.out
    assert answer.out.endswith("Nothing to do.\n")


def test_before_anything_was_submitted(call, home: Path) -> None:
    answer = call("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "does not exist yet" in " ".join(answer.out.split())
    assert not home.exists()
    nothing = call("doctor", "--rebuild")
    assert (nothing.code, len(nothing.err.splitlines())) == (2, 1)
    assert not home.exists()


# --- store ---


def test_a_changed_row_is_found_and_rebuilt(call, examined: Any, finished: Home, small: Path) -> None:
    before = call("report", small, "--json").out
    execute(finished, "UPDATE results SET correct = 360")
    found = examined()
    assert texts(found, "store")[0].startswith("differs from its journals: runs/r")
    assert found["todo"] == [REBUILD]
    rebuilt = call("doctor", "--rebuild")
    assert rebuilt.code == 0
    assert "was replaced; set aside as store.sqlite.replaced-1" in rebuilt.err
    assert "rebuilt from 7 journals" in rebuilt.err
    assert examined()["wrong"] == 0
    assert call("report", small, "--json").out == before
    assert "nothing to submit" in call("submit", small).err


def damage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 300)


def test_a_store_that_does_not_open(call, examined: Any, finished: Home) -> None:
    path = finished.folder / "store.sqlite"
    damage(path)
    before = path.read_bytes()
    found = examined()
    assert "file is not a database" in texts(found, "store")[0]
    assert REBUILD in found["todo"]
    assert path.read_bytes() == before
    assert texts(found, "work", "ok")  # the journals say as much
    assert call("doctor", "--rebuild").code == 0


def test_a_newer_cebctls_store_is_left_alone(call, examined: Any, finished: Home, small: Path) -> None:
    execute(finished, "UPDATE cebctl_schema SET version_num = '9999'")
    before = sorted(path.name for path in finished.folder.iterdir())
    assert "schema 9999 is newer than" in texts(examined(), "store")[0]
    for command in (["doctor", "--rebuild"], ["status", small], ["submit", small]):
        answer = call(*command)
        assert (answer.code, len(answer.err.splitlines()), "update cebctl" in answer.err) == (3, 1, True)
    assert sorted(path.name for path in finished.folder.iterdir()) == before


def test_an_older_cebctls_store_is_a_note_until_it_is_set_aside(
    call, examined: Any, finished: Home, small: Path
) -> None:
    execute(finished, "UPDATE cebctl_schema SET version_num = '0002'")
    before = call("plan", small, "--json").out
    assert "has the older schema 2" in texts(examined(), "store", "note")[0]
    answer = call("status", small)
    assert (answer.code, "3 done" in answer.out) == (0, True)
    assert "was made by an earlier cebctl; set aside as store.sqlite.older-1 and rebuilt" in answer.err
    assert call("plan", small, "--json").out == before
    assert examined()["wrong"] == 0


def test_another_programs_database_is_refused(call, examined: Any, tmp_path: Path, monkeypatch: Any) -> None:
    with closing(sqlite3.connect(tmp_path / "photos.sqlite")) as connection:
        connection.execute("CREATE TABLE photos (id)")
    monkeypatch.setenv("CEBCTL_STORE", f"sqlite:///{tmp_path}/photos.sqlite")
    assert "is not a cebctl store: it holds 'photos'" in texts(examined(), "store")[0]
    answer = call("doctor", "--rebuild")
    assert (answer.code, "is not a cebctl store" in answer.err) == (2, True)
    assert not list(tmp_path.glob("photos.sqlite.replaced*"))


def test_a_damaged_journal_is_found(examined: Any, finished: Home, small: Path) -> None:
    path = finished.run(load(small).runs[0].run_id).journal("train", 1)
    line = path.read_bytes().count(b"\n") + 1
    with path.open("ab") as file:
        file.write(b"{nonsense\n")
    [text] = texts(examined(), "store")
    assert text.startswith(f"{path}:{line}: makes no sense: JSON is malformed")
    assert text.endswith("; 1 damaged line, skipped")


def test_a_claim_of_another_spec_is_found_and_left_out(call: Any, examined: Any, finished: Home, small: Path) -> None:
    before = call("status", small, "--json").out
    text = finished.submission("s1").read_text().replace('"name":"s1"', '"name":"s2"')
    finished.submission("s2").write_text(text.replace('"width":4', '"width":5'))
    run_id = load(small).runs[0].run_id
    expected = f"{finished.submission('s2')}:2: claims run {run_id} with a spec that is not its own"
    assert texts(examined(), "store")[0].startswith(expected)
    assert call("status", small, "--json").out == before


# --- work ---


@pytest.fixture
def unfinished(finished: Home, small: Path) -> Home:
    """The first run was never begun, the training of the second broke off."""
    first, second, _ = load(small).runs
    for planned in (first, second):
        for journal in finished.run(planned.run_id).folder.glob("journal/*"):
            journal.unlink()
    with Journal(finished.run(second.run_id).journal("train", 1)) as journal:
        journal.write(Started(submission="s1"), Died(reason="killed"))
    return finished


def test_work_whose_workers_are_gone(examined: Any, unfinished: Home, small: Path) -> None:
    dead = Launched(job="s1-0", executor_id=str(Process.current()).replace(f"/{os.getpid()}/", "/999999999/"))
    with Journal(unfinished.submission("s1")) as journal:
        journal.write(dead)
    found = examined()
    assert texts(found, "work") == ["submission s1: its workers are gone, 2 stages unfinished"]
    assert found["todo"] == [f"`cebctl submit {small}` goes on with what is unfinished"]


def test_work_that_somebody_will_do(examined: Any, unfinished: Home) -> None:
    with Journal(unfinished.submission("s1")) as journal:
        journal.write(Launched(job="s1-0", executor_id=str(Process.current())))
    # The second run broke off under this very submission, which does not try twice.
    assert texts(examined(), "work") == ["submission s1: its workers are gone, 1 stage unfinished"]


# --- what it stands on ---


def test_a_network_file_system(call, examined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, word in (
        ("nfs4", "part of the protocol"),
        ("lustre", "localflock"),
        ("gpfs", "across nodes"),
        ("9p", ""),
    ):
        for module in (environment_checks, sqlite):
            monkeypatch.setattr(module, "network_file_system", lambda path, kind=kind: kind)
        [text] = texts(examined(), "home", "note")
        assert text.startswith(f"on {kind}, a network file system: journals and checkpoints are safe on it")
        assert "rollback journal" in text and word in text


def test_little_space(examined: Any, finished: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_checks, "MIN_FREE_BYTES", 1 << 60)
    found = examined()
    assert "GB free" in texts(found, "home")[0]
    assert found["todo"] == [f"make room on the disk of {finished.folder}; `cebctl gc` removes checkpoints"]


def test_a_home_that_cannot_be_written(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_HOME", "/proc/home")
    answer = call("doctor")
    assert answer.code == 1
    assert "/proc can't be written and locked" in answer.out
    assert "1. make /proc writable" in answer.out


def test_a_damaged_data_set(examined: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "fashion_mnist"
    folder.mkdir(parents=True)
    [text] = texts(examined(), "data")
    assert text.startswith("fashion_mnist: damaged, ")


def test_data_sets_that_are_neither_at_hand_nor_used_are_counted(tmp_path: Path) -> None:
    *used, others = environment_checks.check_datasets(tmp_path, used=["cifar10"])
    assert {finding.text.split(":")[0] for finding in used} == {"cifar10", "digits"}
    count = len({*datasets.names()} - {"cifar10", "digits"})
    assert others.text == f"{count} more are not at hand and not used: `cebctl data list`"


def test_a_package_that_is_too_old(examined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment_checks.importlib.metadata.version
    monkeypatch.setattr(
        environment_checks.importlib.metadata, "version", lambda name: "2.4.1" if name == "torch" else real(name)
    )
    [text] = texts(examined(), "software")
    assert text.startswith("not met: torch>=2.")


@pytest.mark.parametrize(("installed", "unmet"), [("2.10.9", ["torch>=2.11"]), ("2.11", []), ("2.11.0+cpu", [])])
def test_the_least_version_that_is_required_is_enough(
    examined: Any, monkeypatch: pytest.MonkeyPatch, installed: str, unmet: list[str]
) -> None:
    monkeypatch.setattr(environment_checks.importlib.metadata, "requires", lambda name: ["torch>=2.11"])
    monkeypatch.setattr(environment_checks.importlib.metadata, "version", lambda name: installed)
    assert texts(examined(), "software", "wrong") == [f"not met: {text}" for text in unmet]


@pytest.mark.parametrize(("free", "level"), [(2 << 30, "ok"), ((2 << 30) - 1, "wrong")])
def test_two_gibibytes_are_room_enough(examined: Any, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(environment_checks.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert f"{free / 1e9:.1f} GB free" in texts(examined(), "home", level)


NVIDIA_SMI = {
    "echo 'NVIDIA H200, 143771 MiB, 570.1'; echo 'NVIDIA H200, 143771 MiB, 570.1'": (
        "ok",
        ["NVIDIA H200, 143771 MiB, 570.1"] * 2,
    ),
    "echo 'Failed to initialize NVML'; exit 9": ("wrong", ["nvidia-smi finds no GPU: Failed to initialize NVML"]),
    "exit 0": ("wrong", ["nvidia-smi finds no GPU: exit code 0"]),
}


@pytest.mark.parametrize("script", NVIDIA_SMI)
def test_gpus(examined: Any, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    level, expected = NVIDIA_SMI[script]
    assert texts(examined(), "gpu", level) == expected


def test_no_gpu(examined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert texts(examined(), "gpu", "ok") == ["no NVIDIA driver on this machine: local jobs run on the CPU"]


# --- every command ---


@pytest.mark.parametrize("command", ["status", "report", "show", "logs", "export", "gc", "submit"])
def test_every_command_says_that_the_store_was_damaged(
    call, finished: Home, small: Path, tmp_path: Path, command: str
) -> None:
    call("status")
    damage(finished.folder / "store.sqlite")
    run_id = load(small).runs[0].run_id
    arguments = {
        "show": [run_id],
        "logs": [run_id],
        "gc": [small, "--dry-run"],
        "export": [small, "--to", "csv", "--out", tmp_path / "out"],
    }
    answer = call(command, *arguments.get(command, [small]))
    assert answer.code == 0
    said = f"{finished.folder}/store.sqlite: was damaged; set aside as store.sqlite.damaged-1 and rebuilt from the"
    assert answer.err.startswith(said)
    assert "damaged" not in call(command, *arguments.get(command, [small])).err or command == "export"


def test_plan_looks_past_a_damaged_store(call, finished: Home, small: Path) -> None:
    call("status")
    damage(finished.folder / "store.sqlite")
    answer = call("plan", small, "--json")
    assert (answer.code, json.loads(answer.out)["totals"]["done"]) == (0, 3)
    assert not list(finished.folder.glob("store.sqlite.damaged*"))


def test_a_home_that_others_can_write(call, examined: Any, finished: Home) -> None:
    (finished.folder / "config.yaml").write_text("on_state_change: 'true'\n")
    (finished.folder / "config.yaml").chmod(0o646)
    config = finished.folder / "config.yaml"
    assert texts(examined(), "home") == [f"{config}: can be written by everybody"]
    finished.folder.chmod(0o777)
    found = examined()
    assert texts(found, "home") == [f"{finished.folder}: can be written by everybody"]
    assert any(f"`chmod -R g-w,o-w {finished.folder}`" in step for step in found["todo"])
    answer = call("submit", finished.folder.parent / "small.yaml", "--again", "train", "--on", "local")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert f"{finished.folder}: can be written by everybody" in answer.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_home_of_somebody_else(examined: Any, finished: Home) -> None:
    os.chown(finished.folder / "runs", 1, -1)
    assert texts(examined(), "home") == [f"{finished.folder / 'runs'}: belongs to daemon, not to you"]
