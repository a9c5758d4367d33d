"""The forest plot of claims: each difference with the interval that decides it, and its margin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cebctl.report.claims.judge import ClaimVerdict, unit_text
from cebctl.report.figures.marks import Figure, Mark, Panel, Series
from cebctl.report.number_format import scale

STYLES = {"supported": 2, "refuted": 1, "undecided": 4}
"""The number of the colour and sign of each verdict: green, red, amber."""
_MARGIN_STYLE = 7
NAME = "claims"


def claim_figures(verdicts: Sequence[ClaimVerdict]) -> Iterator[Figure]:
    """Yield a figure for each unit in which claims have a difference."""
    by_unit: dict[str, list[Panel]] = {}
    for verdict in verdicts:
        if verdict.difference is not None:
            by_unit.setdefault(unit_text(verdict.difference.unit), []).append(_panel(verdict))
    for number, (unit, panels) in enumerate(by_unit.items()):
        caption = (
            "A - B with the interval that decides, over seeds and images and corrected for the primary claims; dashed: "
            "the margin. Supported lies beyond it on the claim's side, or between two margins; undecided is what the "
            "interval or the checks of attacks leave open."
        )
        name = NAME if number == 0 else f"{NAME}-{unit.replace('_', '-')}"
        yield Figure(name, f"Claims, {unit}", caption, tuple(panels), forest=True)


def _panel(verdict: ClaimVerdict) -> Panel:
    difference, claim = verdict.difference, verdict.claim
    assert difference is not None and verdict.a is not None and verdict.b is not None
    factor, _ = scale(difference.unit)
    label = f"{verdict.name}: {verdict.a.name} - {verdict.b.name}"
    mark = Mark(
        0.0, float(difference.spread.difference) * factor, verdict.low * factor, verdict.high * factor, label=label
    )
    ends = {"higher": (claim.margin,), "lower": (-claim.margin,), "equivalent": (-claim.margin, claim.margin)}
    margins = tuple(Mark(0.0, end * factor, label=f"margin of {verdict.name}") for end in ends[claim.relation])
    return Panel(
        f"{verdict.name}\n{verdict.outcome}",
        f"A - B, {unit_text(difference.unit)}",
        "",
        (
            Series("margin", "baseline", _MARGIN_STYLE, margins),
            Series(verdict.outcome, "line", STYLES[verdict.outcome], (mark,)),
        ),
    )
