"""The table of claims on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cebctl.report.claims.decision import Outcome
from cebctl.report.claims.judge import ClaimVerdict
from cebctl.report.claims.view import column_text, difference_text, rule_text, seeds_text


@dataclass(frozen=True)
class ClaimRow:
    name: str
    outcome: Outcome
    sentence: str
    reasons: tuple[str, ...]
    history: str
    texts: tuple[str, ...]
    """The cells behind the sentence, in the order of the heads."""


@dataclass(frozen=True)
class ClaimCells:
    heads: tuple[str, ...]
    rows: tuple[ClaimRow, ...]


def claim_cells(verdicts: Sequence[ClaimVerdict]) -> ClaimCells:
    """Return the heads and rows of the table."""
    heads = ("claim", "verdict", "in words", "A - B", "rule", "A", "B", "seeds", "measure")
    return ClaimCells(heads, tuple(map(_row, verdicts)))


def _row(verdict: ClaimVerdict) -> ClaimRow:
    sides = [side.name if side else text for side, text in ((verdict.a, verdict.claim.a), (verdict.b, verdict.claim.b))]
    texts = (difference_text(verdict), rule_text(verdict), *sides, seeds_text(verdict), column_text(verdict))
    name = verdict.name if verdict.claim.primary else f"{verdict.name} (exploratory)"
    reasons = tuple(reason.text for reason in verdict.reasons)
    return ClaimRow(name, verdict.outcome, verdict.claim.sentence, reasons, verdict.history.describe(), texts)
