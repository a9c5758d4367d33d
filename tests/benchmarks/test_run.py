"""Goals against what a benchmark printed."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.conftest import ROOT

TABLE = """
| look | runs | wall, s | over ours |
| --- | ---: | ---: | ---: |
| ours | 1,000 | 1.16 (0.56 … 2.20) |  |
| dora | 1,000 | 4.06 | 3.50x (0.90 … 3.73) |
| seml | not installed |  |  |
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import run

    return run


def test_what_a_goal_names_is_found_and_what_is_not_here_is_named(run: ModuleType) -> None:
    goals = [run.Goal("over ours", "dora|seml", at_least=1), run.Goal("wall, s", "ours", at_most=0.8)]
    found = run._read(run.Benchmark("look.py", [], [], goals), TABLE)
    assert {name: ratio.median for name, ratio in found.ratios.items()} == {
        "dora: over ours": 3.5,
        "ours: wall, s": 1.16,
    }
    assert found.absent == ["seml"]


@pytest.mark.parametrize(
    ("at_least", "at_most", "held"),
    [
        (1.0, None, "yes"),
        (1.2, None, "yes, within the spread"),
        (1.4, None, "no, within the spread"),
        (1.6, None, "no"),
        (None, 1.5, "yes"),
        (None, 1.3, "yes, within the spread"),
        (None, 1.2, "no, within the spread"),
        (None, 1.0, "no"),
        (None, None, ""),
    ],
)
def test_a_goal_is_met_by_the_median_and_the_spread_says_how_surely(
    run: ModuleType, at_least: float | None, at_most: float | None, held: str
) -> None:
    assert run.Goal("x", at_least=at_least, at_most=at_most).held(run.Ratio(1.3, 1.1, 1.5)) == held
