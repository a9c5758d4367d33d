"""Per-image flags as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.per_sample import pack, unpack


@given(st.lists(st.booleans(), max_size=300))
def test_what_is_packed_is_unpacked(flags: list[bool]) -> None:
    assert unpack(pack(flags), len(flags)) == flags


def test_ten_thousand_images_are_short() -> None:
    assert len(pack(index % 100 > 0 for index in range(10_000))) < 200


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", pack([True] * 16), pack([True] * 9)[:-4]])
def test_damage_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text, 8)
