"""The verdict of a gradient audit: one sign after the other."""

from __future__ import annotations

import pytest

from cebctl.report.audit_verdict import MEASURES, verdict

HONEST = {
    "audit_pgd": 0.40, "audit_more": 0.35, "audit_losses": 0.38, "audit_large_eps": 0.0, "audit_square_alone": 0.0,
    "audit_zero_gradient": 0.0, "audit_square": 0.5,
}  # fmt: skip


def test_an_honest_audit() -> None:
    assert verdict(HONEST).informative
    assert str(verdict(HONEST)) == "gradients informative"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audit_zero_gradient": 0.3}, "suspect, because the gradient of 30.0% of the images is all zero"),
        ({"audit_large_eps": 0.02}, "suspect, because 2.0% are still right in a ball that holds every image"),
        ({"audit_losses": 0.2}, "suspect, because other losses take 20.0 points more than cross-entropy"),
        ({"audit_more": 0.1}, "suspect, because more steps and restarts take 30.0 points more"),
        ({"audit_square_alone": 0.05}, "suspect, because a black-box attack alone breaks 5.0%"),
        (
            {"audit_large_eps": 0.5, "audit_square_alone": 0.05},
            "suspect, because 50.0% are still right in a ball that holds every image; "
            "a black-box attack alone breaks 5.0%",
        ),
    ],
)
def test_each_sign(change: dict[str, float], reason: str) -> None:
    assert str(verdict(HONEST | change)) == reason


@pytest.mark.parametrize("name", MEASURES)
def test_half_an_audit_has_no_verdict(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        verdict({key: value for key, value in HONEST.items() if key != name})
