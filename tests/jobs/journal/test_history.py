"""How stages ended and which claims were given back, by journals alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.journal.files import Journal
from jobs.journal.history import is_claim_released, is_trained, newest_complete, training_attempts
from jobs.journal.records import AnyRecord, Failed, Preempted, Released, Started, Succeeded
from jobs.paths import Home, RunPaths

OURS = "20260101-120000-aaaa"


def attempt(paths: RunPaths, generation: int, *end: AnyRecord) -> None:
    with Journal(paths.journal("train", paths.next_attempt("train"))) as journal:
        journal.write(Started(generation=generation), *end)


def test_the_newest_complete_generation_of_a_training(paths: RunPaths) -> None:
    assert newest_complete(paths) == paths and not is_trained(paths)
    attempt(paths, 1, Failed(error="nan"))
    attempt(paths, 1, Succeeded())
    for end in ((), (Preempted(),), (Failed(error="no room"),)):
        attempt(paths, 2, *end)
        assert newest_complete(paths) == paths and is_trained(paths)
    attempt(paths, 3, Succeeded())
    attempt(paths, 1, Failed(error="of an older generation, and late"))
    assert newest_complete(paths) == RunPaths(paths.folder, 3)
    assert [training_attempts(RunPaths(paths.folder, number)) for number in (1, 2, 3)] == [[1, 2, 7], [3, 4, 5], [6]]


def test_each_generation_has_checkpoints_and_partial_results_of_its_own(paths: RunPaths) -> None:
    later = RunPaths(paths.folder, 2)
    assert (paths.checkpoints.name, later.checkpoints.name) == ("checkpoints", "checkpoints.2")
    assert paths.partial_of(1) == paths.partial and paths.partial_of(2) == paths.partial / "2"
    for folder in (paths.checkpoints, later.checkpoints, paths.folder / "checkpoints.old"):
        folder.mkdir(parents=True)
    assert paths.generations() == [paths, later]


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
    assert is_claim_released(home, OURS, "r1", "train") is counts
    assert not is_claim_released(home, OURS, "r1", "evaluate")
    assert not is_claim_released(home, OURS, "r2", "train")


def test_a_name_without_a_time_is_looked_for_everywhere(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Journal(home.submission("20200101-000000-aaaa")) as journal:
        journal.write(Released(submission="mine", run_id="r1", stage="train", reason="cancelled"))
    assert is_claim_released(home, "mine", "r1", "train")
