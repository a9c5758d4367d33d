"""`cancel` on a real cluster: what waits and what runs, some of it, and when nobody answers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from campaign import Campaign
from lab import Lab, eventually

MakeLab = Callable[..., Lab]
LONG = "PAYLOAD_STEPS: 6000"


def unfinished(lab: Lab) -> int:
    return sum(row["State"] in ("PENDING", "RUNNING", "COMPLETING") for row in lab.squeue())


def test_what_runs_stops_with_a_checkpoint_and_what_waits_never_starts(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, cpus=2)
    campaign = Campaign(lab, tmp_path, dict.fromkeys("0123", LONG), "evaluate: [clean]")
    campaign.submit()
    campaign.begun("0", step=2)
    campaign.begun("1", step=2)
    answer = campaign("cancel", "--only", "seed in (1, 3)")
    assert answer.code == 0, answer.err
    assert "cancelled 2 x train, 2 x evaluate, 1 of them running" in answer.err
    stopped = campaign.becomes("1", "lost")
    assert stopped["error"].startswith("cancelled; checkpoint of step")
    campaign.becomes("2", "running")  # in the room that 1 has left
    assert campaign.states() == {"0": "running", "1": "lost", "2": "running", "3": "new"}

    again = campaign.submit("--only", "seed = 1")
    assert "submitted 1 x train, 1 x evaluate" in again.err
    eventually(lambda: unfinished(lab) == 6)
    assert "cancelled 3 x train, 3 x evaluate, 2 of them running" in campaign("cancel").err
    eventually(lambda: unfinished(lab) == 0)
    assert "nothing to cancel" in campaign("cancel").err
    assert campaign.records("3") == []


def test_nothing_is_cancelled_behind_a_controllers_back(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit()
    campaign.begun()
    lab.saved(lab.squeue()[0]["JobArrayID"])
    lab.stop("slurmctld", signal.SIGKILL)
    seen = campaign("status")
    assert "running" in seen.out and "jobs are shown as they were last seen" in seen.err
    answer = campaign("cancel")
    assert answer.code == 3
    assert answer.err.splitlines()[-1].startswith(
        "nothing was cancelled: Slurm: slurm_load_jobs error: Unable to contact"
    )
    lab.start("slurmctld")
    campaign("cancel")
    campaign.becomes("0", "lost")


def test_more_than_ten_runs_are_asked_for(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, cpus=1)
    campaign = Campaign(lab, tmp_path, dict.fromkeys(map(str, range(11)), LONG))
    campaign.submit()
    refused = campaign("cancel")
    assert (refused.code, unfinished(lab)) == (2, 11)
    assert refused.err == ("cebctl cancel: asks before it cancels 11 runs, and nobody is there to answer; pass --yes\n")
    assert "cancelled 11 x train" in campaign("cancel", "--yes").err
    eventually(lambda: unfinished(lab) == 0)
