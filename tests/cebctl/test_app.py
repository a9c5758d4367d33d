"""The command line's manners: start-up, help, exit codes, one line per error, nothing written where nothing is due."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.matrix.load import load

HEAVY = ("torch", "torchvision", "sqlalchemy", "submitit", "sklearn", "scipy", "numpy", "vl_convert")
COMMANDS = (
    *(
        "plan",
        "submit",
        "status",
        "report",
        "cancel",
        "corrupt",
        "logs",
        "show",
        "data list",
        "data fetch",
        "export",
        "import",
        "gc",
        "doctor",
    ),
)


def test_nothing_heavy_is_imported_at_start() -> None:
    script = "import sys; from cebctl.app import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "Usage" in done.stdout
    assert not set(HEAVY) & {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(cebctl, name: str) -> None:
    answer = cebctl(*name.split(), "--help")
    assert answer.code == 0
    assert f"Example: cebctl {name}" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("plam", "cebctl: No such command 'plam'"),
        ("plan", "cebctl plan: Missing argument 'MATRIX'"),
        ("plan tiny.yaml --onyl x", "No such option: --onyl"),
        ("plan none.yaml", "none.yaml: No such file or directory"),
        ("plan tiny.yaml --only rhoo=3", "unknown field 'rhoo'; did you mean 'rho'?"),
        ("plan tiny.yaml --only rho=17", "selects none of the 3 runs"),
        ("submit bad.yaml", "bad.yaml:1:8: unknown field 'dataa'; did you mean 'data'?"),
        ("report bad.yaml", "bad.yaml:1:8: unknown field 'dataa'"),
        ("submit nodata.yaml", "data set fashion_mnist: missing: "),
        ("show r123", "run 'r123': none of the 0 runs"),
        ("data fetch mnist", "mnist: no data set of this name; allowed: cifar10,"),
    ],
)
def test_a_wrong_input_is_one_line_and_exit_2(cebctl, tiny: Path, arguments: str, message: str) -> None:
    (tiny.parent / "bad.yaml").write_text("base: {dataa: digits}")
    (tiny.parent / "nodata.yaml").write_text(tiny.read_text().replace("digits", "fashion_mnist"))
    answer = cebctl(*arguments.split(" ", 3), CEBCTL_DATA=str(tiny.parent / "data"))
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""
    assert not list((tiny.parent / "home").glob("submissions/*")) and not list((tiny.parent / "home").glob("runs/*"))


def test_plan_creates_nothing_and_keeps_its_contract(cebctl, tiny: Path, home: Path) -> None:
    answer = cebctl("plan", tiny, "--json", "--detailed-exitcode")
    assert answer.code == 4
    assert not home.exists()
    plan = json.loads(answer.out)
    assert plan["matrix"] == "tiny"
    assert [run["run_id"] for run in plan["runs"]] == [run.run_id for run in load(tiny).runs]
    assert set(plan["runs"][0]) >= {"run_id", "name", "spec", "state", "stages", "gpu_hours"}
    assert [(array["stage"], array["runs"], array["after"]) for array in plan["arrays"]] == [
        ("train", 3, None),
        ("evaluate", 3, "train-1"),
    ]
    assert plan["totals"]["new"] == 3


def test_a_store_that_cant_be_used_is_exit_3(cebctl, tiny: Path) -> None:
    answer = cebctl("status", tiny, CEBCTL_STORE="sqlite:////proc/store.sqlite")
    assert (answer.code, len(answer.err.splitlines()), answer.out) == (3, 1, "")


def test_debug_shows_the_traceback(cebctl) -> None:
    answer = cebctl("--debug", "plan", "none.yaml")
    assert "Traceback" in answer.err and answer.code != 0
