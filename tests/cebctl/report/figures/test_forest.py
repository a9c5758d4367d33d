"""The forest plot shows the intervals that decide."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cebctl.report.claims.decision import decide
from cebctl.report.claims.evidence import Difference, spread_over_seeds
from cebctl.report.claims.judge import ClaimVerdict
from cebctl.report.figures import draw, forest, vega
from experiments.matrix.stated_claim import StatedClaim


def verdict(name: str, a: list[float], unit: str = "accuracy", **rule: Any) -> ClaimVerdict:
    claim = StatedClaim(sentence="It is.", a="rho = 1", b="rho = 2", measure="clean", **rule)
    difference = Difference(0.0, 0.0, unit, 100, spread_over_seeds(a, [0.5] * 3, 100, True), True, True)
    low, high = difference.interval(0.05)
    sides = [SimpleNamespace(name=f"ceb rho={rho}") for rho in (1, 2)]
    return ClaimVerdict(name, claim, decide(claim, low, high), 0.05, 1, *sides, difference, low, high)  # type: ignore[arg-type]


VERDICTS = [
    verdict("up", [0.7, 0.71, 0.72], margin=0.05),
    verdict("same", [0.5, 0.51, 0.49], relation="equivalent", margin=0.1),
    verdict("rate", [0.5, 0.9, 0.1], unit="nats", relation="lower"),
]


def test_a_branch_for_each_claim_and_a_figure_for_each_unit() -> None:
    points, nats = forest.claim_figures(VERDICTS)
    assert [panel.title for panel in points.panels] == ["up\nsupported", "same\nsupported"]
    assert [panel.title for panel in nats.panels] == ["rate\nundecided"]
    assert (points.name, nats.name) == ("claims", "claims-nats")
    margins, (mark,) = (series.marks for series in points.panels[1].series)
    assert [margin.value for margin in margins] == [-10, 10]
    assert (mark.low, mark.high) == pytest.approx((VERDICTS[1].low * 100, VERDICTS[1].high * 100))


def test_the_axis_holds_every_interval_and_margin() -> None:
    figure = next(forest.claim_figures(VERDICTS))
    chart = vega.chart(figure, for_page=False)
    start, end = chart["concat"][0]["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert start < -10 and end > VERDICTS[0].high * 100
    (drawn,) = [row for row in chart["concat"][0]["data"]["values"] if row["k"] == "line"]
    assert (drawn["lo"], drawn["hi"]) == pytest.approx((VERDICTS[0].low * 100, VERDICTS[0].high * 100))


def test_it_is_drawn_without_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = draw.save(forest.claim_figures(VERDICTS), tmp_path)
    assert {path.suffix for path in files} == {".png", ".svg", ".pdf"}
    assert all(word in (tmp_path / "claims.svg").read_text() for word in ("supported", "same", "points"))
    assert not capfd.readouterr().err


def test_claims_without_a_difference_have_no_figure() -> None:
    claim = StatedClaim(sentence="It is.", a="rho = 1", b="rho = 2", measure="clean")
    assert not list(forest.claim_figures([ClaimVerdict("none", claim, "undecided", 0.05, 1)]))
