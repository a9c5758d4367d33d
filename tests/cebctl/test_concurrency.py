"""Eight `cebctl` at once on one home: nobody is locked out, and every run is submitted once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.matrix.load import load
from jobs.journal.files import read
from jobs.journal.records import Claim
from jobs.paths import STAGES, Home

pytestmark = pytest.mark.fault

COMMANDS = ("submit", "status", "submit", "report", "submit", "status", "report", "submit")


@pytest.mark.timeout(180)
def test_eight_at_once(start, cebctl, tiny: Path, home: Path) -> None:
    tiny.write_text(tiny.read_text().replace("epochs: 4", "epochs: 1"))
    processes = [start(command, tiny) for command in COMMANDS]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(COMMANDS), outputs
    errors = "".join(err for _, err in outputs)
    assert "locked" not in errors and "Traceback" not in errors
    # With --wait, every run ends before the test does.
    assert cebctl("submit", tiny, "--wait").code == 0

    claims = [
        (record.run_id, record.stage)
        for path in Home(home).submissions.glob("*.jsonl")
        for record in read(path).records
        if isinstance(record, Claim)
    ]
    runs = load(tiny).runs
    assert sorted(claims) == sorted((run.run_id, stage) for run in runs for stage in STAGES)
    assert all(Home(home).run(run.run_id).attempts(stage) == [1] for run in runs for stage in STAGES)
    assert sum("submitted 3 x train, 3 x evaluate" in err for _, err in outputs) == 1
    assert sum("nothing to submit" in err for _, err in outputs) == COMMANDS.count("submit") - 1

    # Nothing is submitted twice after a rebuild either, and the rebuilt store is the one there was.
    doctor = cebctl("doctor", "--rebuild", "--json")
    assert (doctor.code, json.loads(doctor.out)["wrong"]) == (0, 0), doctor.err
    assert "nothing to submit" in cebctl("submit", tiny).err
