"""A damaged store is healed from the journals, or named in one line: whatever is damaged, no command faults."""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from experiments.matrix.load import load
from jobs.paths import Home
from tests.conftest import ROOT

pytestmark = pytest.mark.fault


def trials(positions: int, commands: int, seed: int = 0) -> str:
    command = [sys.executable, "-m", "tests.cebctl.damage_trials", "--positions", str(positions)]
    command += ["--commands", str(commands), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=7200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def test_a_few_dozen_positions() -> None:
    assert "24 positions" in trials(24, 1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_five_hundred_positions() -> None:
    print(trials(500, 4))


@pytest.fixture
def filled(finished: Home, small: Path, call: Any) -> Path:
    """The store of a finished matrix."""
    assert call("status", small).code == 0
    return finished.folder / "store.sqlite"


def zero_index(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as driver:
        [(root,)] = driver.execute(f"SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = '{table}'")
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))


def test_an_index_of_zeros_is_the_stores_damage(call: Any, cebctl: Any, small: Path, filled: Path) -> None:
    zero_index(filled, "journals")
    doctor = cebctl("doctor")
    assert (doctor.code, doctor.err) == (1, "")
    text = " ".join(doctor.out.split())
    assert f"{filled}: was damaged; set aside as store.sqlite.damaged-1: try again" in text
    assert "in memory" not in text
    assert call("doctor").code == 0


def test_damage_that_a_query_meets_is_one_line(call: Any, small: Path, filled: Path) -> None:
    zero_index(filled, "journals")
    answer = call("status", small)
    line = f"{filled}: was damaged; set aside as store.sqlite.damaged-1: try again to rebuild it\n"
    assert (answer.code, answer.out, answer.err) == (3, "", line)
    assert "3 done" in call("status", small).out


@pytest.mark.parametrize("command", [["status"], ["doctor", "--rebuild"]])
def test_an_unsupported_format_is_healed(call: Any, filled: Path, command: list[str]) -> None:
    with filled.open("r+b") as file:
        file.seek(44)
        file.write(b"\xff" * 4)
    answer = call(*command)
    assert answer.code == 0
    assert re.search(r"set aside as store\.sqlite\.\w+-1 and rebuilt from the journals", answer.err)


def test_a_store_without_the_table_of_its_number_is_ours(call: Any, small: Path, filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as driver:
        driver.execute("DROP TABLE cebctl_schema")
    answer = call("status", small)
    assert (answer.code, "3 done" in answer.out) == (0, True)
    assert "set aside as store.sqlite.damaged-1" in answer.err


def test_a_row_that_the_store_has_lost_is_no_fault(call: Any, small: Path, filled: Path, finished: Home) -> None:
    """A submission's row that is gone, and a line of its journal that has come."""
    with closing(sqlite3.connect(filled)) as driver, driver:
        driver.execute("DELETE FROM submissions")
    line = next(line for line in finished.submission("s1").read_bytes().splitlines() if b'"claim"' in line)
    with finished.submission("s1").open("ab") as file:
        file.write(line + b"\n" + line.replace(b'"train"', b'"evaluate"') + b"\n")
    answer = call("status", small)
    assert (answer.code, "3 done" in answer.out, "a fault of" in answer.err) == (0, True, False), answer


def test_a_spec_that_the_store_has_damaged_accuses_no_journal(
    call: Any, small: Path, filled: Path, finished: Home
) -> None:
    with closing(sqlite3.connect(filled)) as driver, driver:
        driver.execute("UPDATE runs SET spec = replace(spec, '256', '257')")
    text = finished.submission("s1").read_text().replace('"name":"s1"', '"name":"s2"')
    finished.submission("s2").write_text(text)
    answer = call("status", small)
    assert (answer.code, "3 done" in answer.out) == (0, True), answer
    assert "set aside as store.sqlite.damaged-1 and rebuilt" in answer.err


# --- records ---


@pytest.mark.timeout(120)
def test_a_pipe_in_place_of_a_journal_is_one_line(call: Any, small: Path, filled: Path, finished: Home) -> None:
    run = finished.run(load(small).runs[0].run_id)
    pipe = run.journal("train", 2)
    os.mkfifo(pipe)
    for command in (["status", small], ["report", small], ["submit", small], ["show", run.run_id]):
        answer = call(*command)
        assert (answer.code, answer.out) == (3, ""), (command, answer)
        assert answer.err == f"{pipe}: can't be read: it is a named pipe, not a file\n"
    assert f"{pipe}: can't be read: it is a named pipe" in call("doctor", "--json").out
    pipe.unlink()
    for beside in (run.spec, run.provenance, run.lease("train"), finished.ids, finished.queue):
        beside.unlink(missing_ok=True)
        os.mkfifo(beside)
    for command in (["status", small], ["plan", small], ["report", small], ["show", run.run_id]):
        assert call(*command).code == 0


@pytest.mark.parametrize("times", [("1",), ("250000000000",), ("250000000000", "1")])
def test_clocks_that_jump_both_ways(
    call: Any, small: Path, filled: Path, finished: Home, times: tuple[str, ...], tmp_path: Path
) -> None:
    """Of records, and of files, whose times in nanoseconds no database holds from the year 2262 on."""
    turns = itertools.cycle(times)
    for path in finished.journals():
        path.write_text(re.sub(r'("time":)[0-9.e+]+', lambda match: match[1] + next(turns), path.read_text()))
        os.utime(path, (1e10, 1e10) if next(turns) != "1" else (-1e9, -1e9))
    run = load(small).runs[0].run_id
    page = ["report", small, "--html", tmp_path / "page.html"]
    for command in (["status", small], ["plan", small], page, ["show", run], ["logs", run], ["submit", small]):
        answer = call(*command)
        assert (answer.code, "a fault of" in answer.err) == (0, False), (command, answer)
    assert "3 done" in call("status", small).out
