"""The faults strike as they say, and a few of them in the submissions of a campaign do no harm."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler, cc"),
]

SCRIPT = Path(__file__).with_name("fault_trials.py")
WRITER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o666)
os.write(fd, b"first ")
before = time.time()
try:
    print(os.write(fd, b"second"), round(time.time() - before))
    os.fsync(fd)
except OSError as error:
    print(error.errno)
"""


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    spec = spec_from_file_location("fault_trials", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def library(trials: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    trials.compile_tools(folder)
    return folder / "strike.so"


@pytest.mark.parametrize(
    ("kind", "options", "code", "output", "content"),
    [
        ("killed before", {}, -signal.SIGKILL, "", "first "),
        ("killed after", {}, -signal.SIGKILL, "", "first second"),
        ("torn and killed", {}, -signal.SIGKILL, "", "first sec"),
        ("short write", {}, 0, "3 0\n", "first sec"),
        ("call fails", {"error": "ENOSPC"}, 0, f"{errno.ENOSPC}\n", "first "),
        ("torn and fails", {"error": "EIO"}, 0, f"{errno.EIO}\n", "first sec"),
        ("SIGTERM", {}, -signal.SIGTERM, "", "first "),
        ("clock jumps", {"jump": -7200}, 0, "6 -7200\n", "first second"),
    ],
)
def test_a_fault_strikes_one_call(
    trials: ModuleType, library: Path, tmp_path: Path, kind: str, options: dict, code: int, output: str, content: str
) -> None:
    page = trials.Page(tmp_path / "page")
    folder = tmp_path / "home"
    folder.mkdir()
    page.arm(folder, trials.Fault("cli", 3, kind, **options))
    environment = os.environ | {"LD_PRELOAD": str(library), "CAMPAIGN_PAGE": str(tmp_path / "page")}
    command = [sys.executable, "-c", WRITER, folder / "file", "cebctl.app"]  # the last word gives it the role
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, output)
    assert page.disarm() == f"write\t{folder / 'file'}"
    assert (folder / "file").read_text() == content


def test_what_is_lost_doubled_or_different_is_noticed(trials: ModuleType) -> None:
    expected = trials.Remains({"m": 1}, {"r": 2}, {"c": 3}, "table", {"x train": 1}, {"r": 1})
    for kind, changes in (
        ("lost", {"metrics": {}}),
        ("lost", {"successes": {}}),
        ("different", {"results": {"r": 3}}),
        ("different", {"checkpoints": {"c": 4}}),
        ("different", {"report": "another"}),
        ("doubled", {"repetitions": {"r": 2}}),
        ("doubled", {"successes": {"x train": 2}}),
    ):
        assert [problem for problem, _ in trials.compare(expected, replace(expected, **changes))] == [kind]
    assert not list(trials.compare(expected, expected))


@pytest.mark.timeout(1200)
def test_ten_faults_do_no_harm(tmp_path: Path) -> None:
    """Two are done already: an interrupted campaign goes on behind them."""
    outcomes = tmp_path / "outcomes"
    done = [{"seed": 0, "number": number, "struck": "write", "problems": {}} for number in range(2)]
    outcomes.write_text("".join(json.dumps(outcome) + "\n" for outcome in done))
    campaign = subprocess.run(
        [sys.executable, SCRIPT, "--seed", "0", "--faults", "10", "--out", outcomes],
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr
    assert re.match(
        r"10 faults .*: 0 lost, 0 doubled, 0 different, 0 crashed, 0 wrong reason, 0 hung\n", campaign.stdout
    )
    numbers = [json.loads(line)["number"] for line in outcomes.read_text().splitlines()]
    assert numbers[:3] == [0, 1, 2] and len(numbers) >= 10
