"""What `cebctl report --compare` prints for a reader."""

from __future__ import annotations

import pytest

from cebctl.render import compare_view
from cebctl.report.compare import compare


def shown(capsys: pytest.CaptureFixture[str], a: list[list[bool]], b: list[list[bool]]) -> str:
    compare_view.show("xent", "ceb [3]", [compare("pgd_linf@eps=0.1,n=3", a, b)])
    return capsys.readouterr().out


def test_one_run_against_another(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, [[True, True, False, False]], [[True, False, False, False]])
    assert text.startswith("A: xent\nB: ceb [3]\n")
    assert "50.0  25.0  +25.0 [" in text.replace("   ", "  ") and "McNemar's exact test" in text


def test_families_of_seeds_say_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, [[True, False]] * 3, [[True, True]])
    assert text.startswith("A: xent (3 seeds)\nB: ceb [3]\n")
    assert "-50.0 [" in text and "sign-flip randomisation test" in text
