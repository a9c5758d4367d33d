"""The verdict of a gradient audit: whether attacks that follow gradients can be believed on a network.

A pure function of what the benchmark `gradient_audit` measured. The signs are those of Athalye, Carlini & Wagner
(2018) and Carlini et al. (2019, section 3.2): gradients that vanish, a huge radius that leaves images right, more
effort or another loss that finds much more, a black-box attack that beats those that see gradients. The limits are
ours: they pass the differences between attacks that small networks show when trained without any defence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MEASURES = (
    "audit_pgd", "audit_more", "audit_losses", "audit_large_eps", "audit_square_alone", "audit_zero_gradient",
)  # fmt: skip
"""The measures of a verdict, each a share of the audited images in [0, 1]."""

ZERO_GRADIENT = 0.01
"""Images whose cross-entropy gradient is all zero."""
LARGE_EPS = 0.01
"""Images still right in a ball that holds every image."""
GAIN = 0.1
"""How much accuracy another loss, or more steps and restarts, may take from plain PGD."""
SQUARE_ALONE = 0.01
"""Images that the black-box attack breaks and no attack that sees gradients does."""


@dataclass(frozen=True)
class Verdict:
    """The reasons to suspect the gradients of a network; none if they are informative."""

    reasons: tuple[str, ...]

    @property
    def informative(self) -> bool:
        return not self.reasons

    def __str__(self) -> str:
        if self.informative:
            return "gradients informative"
        return f"suspect, because {'; '.join(self.reasons)}"


def verdict(measures: Mapping[str, float]) -> Verdict:
    """Return the verdict on the measures of one audit, by name (`MEASURES`); KeyError if one is missing."""
    pgd = measures["audit_pgd"]
    by_effort, by_losses = pgd - measures["audit_more"], pgd - measures["audit_losses"]
    zero_gradient, large_eps, square_alone = (
        measures[f"audit_{name}"] for name in ("zero_gradient", "large_eps", "square_alone")
    )
    signs = (
        (zero_gradient > ZERO_GRADIENT, f"the gradient of {zero_gradient:.1%} of the images is all zero"),
        (large_eps > LARGE_EPS, f"{large_eps:.1%} are still right in a ball that holds every image"),
        (by_losses > GAIN, f"other losses take {by_losses * 100:.1f} points more than cross-entropy"),
        (by_effort > GAIN, f"more steps and restarts take {by_effort * 100:.1f} points more"),
        (square_alone > SQUARE_ALONE, f"a black-box attack alone breaks {square_alone:.1%}"),
    )
    return Verdict(tuple(reason for holds, reason in signs if holds))
