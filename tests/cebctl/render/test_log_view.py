"""The lines of `cebctl logs`; that it follows a run to its end is in tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Heartbeat, Started
from jobs.paths import Home
from tests.cebctl.conftest import claim


@pytest.mark.parametrize("lines", [1, 3, 20])
def test_each_attempt_begins_with_as_many_of_its_last_lines_as_are_asked_for(
    call, tiny: Path, home: Path, lines: int
) -> None:
    planned = load(tiny).runs[0]
    paths = Home(home).run(planned.run_id)
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(claim(planned, "train"))
    with Journal(paths.journal("train", 1)) as journal:
        journal.write(Started(), *[Heartbeat(step=step, steps=9) for step in range(1, 10)])
    paths.log("train", 1).parent.mkdir()
    paths.log("train", 1).write_text("".join(f"printed {number}\n" for number in range(10)))
    out = call("logs", planned.run_id, "--lines", lines).out.splitlines()
    printed = [line.partition("| ")[2] for line in out if "| " in line]
    journalled = [line for line in out if line.startswith("train.1 ") and "| " not in line]
    assert printed == [f"printed {number}" for number in range(10)][-lines:]
    assert len(journalled) == min(lines, 10) and "9" in journalled[-1]
