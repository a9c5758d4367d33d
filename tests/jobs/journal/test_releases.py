"""Whether a claim was given back, by journals of machines whose clocks differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.journal.records import Journal, Released
from jobs.journal.releases import given_back
from jobs.paths import Home

OURS = "20260101-120000-aaaa"


@pytest.mark.parametrize(
    ("by", "counts"),
    [
        (OURS, True),
        ("20260101-120001-bbbb", True),
        ("20260101-115500-bbbb", True),  # by a clock that is five minutes behind
        ("20260101-110000-bbbb", False),  # before it was claimed: not even read
        ("somebody-s-own-name", True),
    ],
)
def test_by_itself_or_a_later_submission(tmp_path: Path, by: str, counts: bool) -> None:
    home = Home(tmp_path)
    with Journal(home.submission(by)) as journal:
        journal.write(Released(submission=OURS, run_id="r1", stage="train", reason="cancelled"))
    assert given_back(home, OURS, "r1", "train") is counts
    assert not given_back(home, OURS, "r1", "evaluate")
    assert not given_back(home, OURS, "r2", "train")


def test_a_name_without_a_time_is_looked_for_everywhere(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Journal(home.submission("20200101-000000-aaaa")) as journal:
        journal.write(Released(submission="mine", run_id="r1", stage="train", reason="cancelled"))
    assert given_back(home, "mine", "r1", "train")
