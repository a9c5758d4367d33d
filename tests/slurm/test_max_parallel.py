"""`--max-parallel`: never more jobs at once than it allows, over all arrays of a submission, and every place used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from campaign import Campaign
from lab import Lab

MakeLab = Callable[..., Lab]
EVALUATED = "evaluate: [clean]"


def _sizes(*sizes: int, **exported: object) -> dict[str, str]:
    """Runs in as many sets of resources as there are sizes: each set asks for another amount of memory."""
    settings = "".join(f", PAYLOAD_{key}: {value}" for key, value in exported.items())
    sets = [[f"memory: {50 + number}M{settings}"] * size for number, size in enumerate(sizes)]
    return {str(word): rule for word, rule in enumerate(chain.from_iterable(sets))}


def _samples(lab: Lab, seconds: float) -> Iterator[list[str]]:
    """The names of the arrays of what runs, once for each element, again and again until nothing is left."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [row for row in lab.squeue() if row["Name"].startswith("ceb-")]
        if not any(row["State"] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") for row in rows):
            return
        yield [row["Name"].split("-", 2)[2] for row in rows if row["State"] == "RUNNING"]
        time.sleep(0.1)
    pytest.fail(f"not ended within {seconds} s")


def test_eight_sets_of_resources_share_two_places(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, cpus=32)
    campaign = Campaign(lab, tmp_path, _sizes(*[1] * 8, STEPS=3), EVALUATED)
    answer = campaign.submit("--max-parallel", "2")
    assert answer.code == 0, answer.err
    assert "submitted 8 x train, 8 x evaluate to 16 Slurm arrays" in answer.err
    running = [len(names) for names in _samples(lab, 400)]
    assert max(running) == 2
    assert all(campaign.types(word) == ["succeeded"] for word in campaign.words)
    assert all(campaign.records(word, "evaluate") for word in campaign.words)
    assert "at most 2 jobs at once" in answer.err


def test_a_training_that_fails_lets_nothing_pass_its_place(make_lab: MakeLab, tmp_path: Path) -> None:
    """The evaluation of a training that failed ends at once; what waits for its end must wait for the others too."""
    lab = make_lab(nodes=1, cpus=32)
    runs = _sizes(1, 1, 1, 1, STEPS=8)
    runs["0"] += ", PAYLOAD_FAULT: raise"
    campaign = Campaign(lab, tmp_path, runs, EVALUATED)
    assert campaign.submit("--max-parallel", "1").code == 0
    assert max(len(names) for names in _samples(lab, 300)) == 1
    assert [campaign.types(word)[-1] for word in campaign.words] == ["failed", "succeeded", "succeeded", "succeeded"]
    assert [bool(campaign.records(word, "evaluate")) for word in campaign.words] == [False, True, True, True]


def test_every_place_is_used(make_lab: MakeLab, tmp_path: Path) -> None:
    """13 and 4 runs at 8 places, none of which ends before all are seen: shares that are rounded down leave 4 empty."""
    lab = make_lab(nodes=1, cpus=64)
    until = tmp_path / "go"
    campaign = Campaign(lab, tmp_path, _sizes(13, 4, STEPS=2, UNTIL=until), EVALUATED)
    assert campaign.submit("--max-parallel", "8").code == 0
    samples = _samples(lab, 400)
    seen = [len(next(samples))]
    while seen[-1] < 8 and len(seen) < 400:
        seen.append(len(next(samples)))
    assert max(seen) == 8
    until.touch()
    assert max(len(names) for names in samples) == 8
    assert all(campaign.types(word) == ["succeeded"] for word in campaign.words)
