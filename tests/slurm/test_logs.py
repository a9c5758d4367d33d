"""`logs --follow`: one run, from the queue across its attempts to its end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from campaign import ROOT, Campaign
from lab import Lab

MakeLab = Callable[..., Lab]


def test_a_run_is_followed_across_its_attempts_to_its_end(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    lab.run("scontrol", "update", "NodeName=ALL", "State=DRAIN", "Reason=test")
    campaign = Campaign(lab, tmp_path, {"0": "PAYLOAD_FAULT: requeue"})
    campaign.submit()
    environment = lab.env | {
        "PYTHONPATH": str(ROOT), "CEBCTL_HOME": str(tmp_path / "home"), "CEBCTL_SLURM_SECONDS": "0.5",
    }  # fmt: skip
    follower = subprocess.Popen(
        [sys.executable, "-u", "-m", "cebctl.app", "logs", campaign.ids["0"], "--follow"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert follower.stdout
    first = follower.stdout.readline()
    assert re.match(r"train  \d\d:\d\d:\d\d is queued", first), first
    lab.run("scontrol", "update", "NodeName=ALL", "State=RESUME")
    lines = follower.communicate(timeout=120)[0].splitlines()
    assert follower.returncode == 0
    told = [re.sub(r"\d\d:\d\d:\d\d", "T", line) for line in lines]
    assert sum(line.startswith("train.1  T started") for line in told) == 1  # every line once
    milestones = ("train.1  T preempted", "train.2  T started", "train.2  T succeeded", "train  T is done")
    met = [next(m for m in milestones if line.startswith(m)) for line in told if line.startswith(milestones)]
    assert met == list(milestones)
    assert told[-1] == "train  T is done"
