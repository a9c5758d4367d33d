"""The verdict of a gradient audit: whether attacks that follow gradients can be believed on a network.

A pure function of what the benchmark `gradient_audit` measured. The signs are those of Athalye, Carlini & Wagner
(2018) and Carlini et al. (2019, section 3.2): gradients that vanish, a huge radius that leaves images right, more
effort or another loss that finds much more, a black-box attack that beats those that see gradients. The limits are
ours: what they let pass is within the spread of attacks on small networks trained without any defence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MEASURES = (
    "audit_pgd", "audit_more", "audit_losses", "audit_large_eps", "audit_square_alone", "audit_zero_gradient",
)  # fmt: skip
"""What a verdict needs, each a share of the audited images in [0, 1]."""

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
    """Why the gradients of a network are suspect; no reasons if they are informative."""

    reasons: tuple[str, ...]

    @property
    def informative(self) -> bool:
        return not self.reasons

    def __str__(self) -> str:
        if self.informative:
            return "gradients informative"
        return f"suspect, because {'; '.join(self.reasons)}"


def verdict(found: Mapping[str, float]) -> Verdict:
    """The verdict on the measures of one audit, by name (`MEASURES`); KeyError if one is not there."""
    pgd = found["audit_pgd"]
    more, losses = pgd - found["audit_more"], pgd - found["audit_losses"]
    zero, large, alone = (found[f"audit_{name}"] for name in ("zero_gradient", "large_eps", "square_alone"))
    signs = (
        (zero > ZERO_GRADIENT, f"the gradient of {zero:.1%} of the images is all zero"),
        (large > LARGE_EPS, f"{large:.1%} are still right in a ball that holds every image"),
        (losses > GAIN, f"other losses take {losses * 100:.1f} points more than cross-entropy"),
        (more > GAIN, f"more steps and restarts take {more * 100:.1f} points more"),
        (alone > SQUARE_ALONE, f"a black-box attack alone breaks {alone:.1%}"),
    )
    return Verdict(tuple(reason for holds, reason in signs if holds))
