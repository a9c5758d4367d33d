"""What can go wrong with one job, all at once: a run for each fault on one cluster, with accounting and without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from campaign import Campaign, link
from lab import Lab

pytestmark = pytest.mark.fault

FAULTS = {
    "sound": "",
    "raises": "PAYLOAD_FAULT: raise",
    "raises, tried again": "PAYLOAD_FAULT: raise, retries: {failed: 1}",
    "raises always": "PAYLOAD_FAULT: raise, PAYLOAD_ALWAYS: 1, retries: {failed: 2}",
    "nan": "PAYLOAD_FAULT: nan, retries: {failed: 5}",
    "cuda memory": "PAYLOAD_FAULT: cuda memory",
    "import": "PAYLOAD_FAULT: import",
    "setup": "setup: [exit 7]",
    "kill": "PAYLOAD_FAULT: kill",
    "kill, tried again": "PAYLOAD_FAULT: kill, retries: {failed: 1}",
    "exit": "PAYLOAD_FAULT: exit",
    "cancel": "PAYLOAD_FAULT: cancel",
    "requeue": "PAYLOAD_FAULT: requeue",
}


@pytest.fixture(scope="module", params=["accounting", "no accounting"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The status of every run once all have ended, and the campaign under its name."""
    lab: Lab = request.getfixturevalue("shared_lab_accounting" if request.param == "accounting" else "shared_lab")
    campaign = Campaign(lab, tmp_path_factory.mktemp("faults"), FAULTS)
    answer = campaign.submit()
    assert answer.code == 0, answer.err
    yield campaign.ends(180) | {"campaign": campaign}


def test_a_sound_run_is_done(ended: dict[str, Any]) -> None:
    assert ended["sound"]["state"] == "done"
    assert ended["campaign"].link("sound") == link(20)


@pytest.mark.parametrize(
    ("word", "state", "error", "attempts"),
    [
        ("raises", "failed", "ZeroDivisionError: division by zero", ["failed"]),
        ("raises always", "failed", "ZeroDivisionError", ["failed", "failed", "failed"]),
        ("nan", "failed", "the loss is nan", ["failed"]),
        ("cuda memory", "failed", "OutOfMemoryError: CUDA out of memory", ["failed"]),
        ("import", "lost", "exit code 1 and without a word before it began", ["died"]),
        ("kill", "lost", "killed by signal 9, SIGKILL (out of memory?); checkpoint", ["died"]),
        ("exit", "lost", "ended with exit code 0 and without a word", ["died"]),
        ("cancel", "lost", "cancelled", ["preempted"]),
    ],
)
def test_it_ends_in_the_right_state_with_the_reason(
    ended: dict[str, Any], word: str, state: str, error: str, attempts: list[str]
) -> None:
    assert ended[word]["state"] == state
    assert error in ended[word]["error"]
    assert ended["campaign"].types(word) == attempts


@pytest.mark.parametrize("word", ["raises, tried again", "kill, tried again", "requeue"])
def test_it_goes_on_and_ends_with_the_numbers_of_an_undisturbed_run(ended: dict[str, Any], word: str) -> None:
    assert ended[word]["state"] == "done"
    assert ended["campaign"].link(word) == link(20)
    assert ended["campaign"].types(word)[-1] == "succeeded" and len(ended["campaign"].types(word)) == 2


def test_a_job_that_never_began_says_where_to_look(ended: dict[str, Any]) -> None:
    assert ended["setup"]["state"] == "new"
    shown = ended["campaign"]("status").out
    assert "its job ended before it began" in shown and "workers/" in shown
