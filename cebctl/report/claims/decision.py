"""The rule of a claim: an interval of A - B against a margin, and the seeds that would decide.

A pure function of a difference and its variance. `higher` is supported where the whole interval lies above the margin
and refuted where it lies below; `equivalent` is supported where it lies within -margin and margin, and refuted where it
lies outside. The interval of level 1 - alpha is the one that tables and figures show. With it a test of equivalence by
two one-sided tests (Schuirmann 1987) is one at alpha / 2, so that a supported equivalence is never a chance of alpha.
"""

from __future__ import annotations

from typing import Literal

from cebctl.report.comparison import variance_components
from cebctl.report.comparison.variance_components import Spread
from experiments.matrix.stated_claim import StatedClaim

Outcome = Literal["supported", "refuted", "undecided"]


def corrected_alpha(claim: StatedClaim, primary: int) -> float:
    """Return the probability with which the interval of a claim may miss, corrected for so many primary claims by
    Bonferroni."""
    return (1 - claim.level) / max(1, primary)


def decide(claim: StatedClaim, low: float, high: float) -> Outcome:
    """Return the outcome of a claim for the interval [low, high] of A - B."""
    margin = claim.margin
    match claim.relation:
        case "higher":
            supported, refuted = low > margin, high < margin
        case "lower":
            supported, refuted = high < -margin, low > -margin
        case "equivalent":
            supported, refuted = -margin < low and high < margin, low > margin or high < -margin
    return "supported" if supported else "refuted" if refuted else "undecided"


def seeds_to_decide(claim: StatedClaim, spread: Spread, alpha: float) -> int | None:
    """Return the fewest seeds a side that would decide with a power of 80%, if the difference and its variances are
    what they seem to be; None where no number would. ValueError for a spread without seeds."""
    difference, margin = float(spread.difference), claim.margin
    if claim.relation == "equivalent" and abs(difference) < margin:
        return variance_components.seeds_needed(spread, difference, alpha, within=margin)
    distances = {"higher": difference - margin, "lower": -difference - margin, "equivalent": abs(difference) - margin}
    distance = distances[claim.relation]
    return variance_components.seeds_needed(spread, distance, alpha) if distance else None
