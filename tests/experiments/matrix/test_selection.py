from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import InputError
from experiments.matrix.selection import parse

RUN = {("objective", "name"): "ceb", ("objective", "rho"): 3.0, ("network", "depth"): 152, ("data", "name"): "imagenet",
       ("adversary", "eps"): 8 / 255}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True), ("objective=ceb", True), ("objective != ceb", False), ("rho<=3,depth=152", True), ("rho<3", False),
        ("objective in (ceb, cceb)", True), ("objective not in (ceb, cceb)", False), ("rho in (1, 3)", True),
        ("data = 'imagenet'", True), ("adversary.eps = 8/255", True), ("adversary.eps in (4/255, 8px)", True),
        ("adversary.eps < 8/255", False), ("eps = '8/255'", False),
        ("z_dim = 4", False), ("z_dim != 4", False), ("rho > null", False),
    ],
)  # fmt: skip
def test_conditions(text: str, holds: bool) -> None:
    assert parse(text).matches(RUN) is holds


def test_grey_values_are_of_radii_alone() -> None:
    """A folder of images may be called so."""
    assert parse("data = 64px").matches({("data", "name"): "64px"})
    assert parse("data in (8/255, 64px)").matches({("data", "name"): "64px"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rhoo=3", "did you mean 'rho'"), ("rho", "it ends too early"), ("rho=", "expected a value"),
        ("rho=3 depth=2", "character 7: unexpected 'depth'"),
        ("rho=3 and depth=2", "unexpected 'and'; conditions are separated by `,`"),
        ("rho=3 OR rho=1", r"unexpected 'OR'; several values of a field are written `rho in \(1, 3\)`"),
        ("rho in 3", "unexpected '3'"), ("rho in (1", "too early"),
        ("rho=3,", "ends too early"), ("rho ! 3", "unexpected '!'"), ("=3", "expected a field"),
    ],
)  # fmt: skip
def test_faults_name_the_place(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text).matches(RUN)


@given(st.text(alphabet="rho objective=<>!(),'\"3 in not", max_size=30))
def test_no_text_does_anything_but_parse_or_fail_in_words(text: str) -> None:
    try:
        assert parse(text).matches(RUN) in (True, False)
    except InputError as error:
        assert "selection" in str(error)
