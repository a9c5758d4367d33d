"""`cancel` on a real cluster: what waits and what runs, some of it, and when nobody answers."""

from __future__ import annotations

import shutil
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


def test_jobs_that_were_renamed_are_cancelled_too(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, cpus=2)
    campaign = Campaign(lab, tmp_path, dict.fromkeys("0123", LONG))
    campaign.submit()
    campaign.begun("0", step=2)
    campaign.begun("1", step=2)
    array = lab.squeue()[0]["JobArrayID"].partition("_")[0]
    for index in (0, 2):
        lab.run("scontrol", "update", f"JobId={array}_{index}", f"JobName=mine-{index}")
    assert campaign.states() == {"0": "running", "1": "running", "2": "queued", "3": "queued"}
    assert "nothing to submit" in campaign.submit().err
    answer = campaign("cancel")
    assert "cancelled 4 x train, 2 of them running" in answer.err
    eventually(lambda: unfinished(lab) == 0)
    assert campaign.records("2") == []


def test_what_slurm_does_not_end_is_named_and_not_counted(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, cpus=2)
    campaign = Campaign(lab, tmp_path, dict.fromkeys("012", LONG))
    campaign.submit()
    campaign.begun("0", step=2)
    campaign.begun("1", step=2)
    jobs = {row["JobArrayID"] for row in lab.squeue()}
    kept = next(job for job in jobs if job.endswith("_1"))
    deaf = tmp_path / "bin" / "scancel"  # as of one job that belongs to somebody else
    deaf.parent.mkdir()
    deaf.write_text(
        f'#!/bin/sh\nfor job; do [ "$job" = {kept} ] && denied=1 || {shutil.which("scancel")} "$job"; done\n'
        f'[ -z "$denied" ] || {{ echo "scancel: error: Kill job error on job id {kept}: Access/permission denied" >&2; '
        "exit 1; }\n"
    )
    deaf.chmod(0o755)
    answer = campaign("cancel", PATH=f"{deaf.parent}:{lab.env['PATH']}")
    assert "cancelled 2 x train, 1 of them running" in answer.err, answer.err
    line = " ".join(answer.err.split())
    assert f"goes on on Slurm as job {kept}, xent seed=1 (Slurm: scancel: Kill job error" in line
    assert {job: state for job, state in lab.states().items() if state == "RUNNING"} == {kept: "RUNNING"}
