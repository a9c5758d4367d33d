"""A few of the mutants of `mutants.py`, every time; all of them by hand or with the soak tests."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.numerics import VERSIONS

ROOT = Path(__file__).parents[3]


def test_every_part_has_a_mutant_whose_line_is_there() -> None:
    mutants = runpy.run_path(str(ROOT / "tests/jobs/engine/mutants.py"))["MUTANTS"]
    assert {mutant.part for mutant in mutants} == VERSIONS.keys()
    gone = [mutant for mutant in mutants if mutant.line not in (ROOT / mutant.file).read_text()]
    assert not gone, "change what mutants.py says of these lines"


def _mutants(*parts: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tests/jobs/engine/mutants.py", *parts]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_changed_pixels_of_ones_own_images_and_changed_steps_move_a_pinned_number() -> None:
    """Nearest neighbours instead of a bicubic resize among them, in a file outside the engine."""
    done = _mutants("data.own", "optimiser.sgd", "evaluator.top5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "killed   data.own                         jobs/datasets/image_folder.py: Image.Resampling.BICUBIC"
        in done.stdout
    )
    assert "6 of 6 mutants of 3 parts are killed" in done.stdout


@pytest.mark.soak
def test_every_mutant_moves_a_pinned_number() -> None:
    done = _mutants()
    assert done.returncode == 0, done.stdout + done.stderr
