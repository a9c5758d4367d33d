"""What can go wrong with the cluster: each fault on one of its own, and the run ends with undisturbed numbers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from campaign import Campaign, link
from lab import IMPATIENT, Lab, LabError, eventually

pytestmark = pytest.mark.fault

MakeLab = Callable[..., Lab]
STEPS = 200
LONG = f"PAYLOAD_STEPS: {STEPS}"
"""A run of some twenty seconds."""
QUICK = {"KillWait": 3}


def done_undisturbed(campaign: Campaign, attempts: int | None = None, word: str = "0", steps: int = STEPS) -> None:
    assert campaign.ends(150)[word]["state"] == "done", campaign.status()[word]
    assert campaign.link(word) == link(steps)
    types = campaign.types(word)
    assert types.count("succeeded") == 1
    assert attempts is None or len(types) == attempts


def done_undisturbed_once_released(lab: Lab, campaign: Campaign, steps: int = STEPS) -> None:
    """Slurm holds the job and drains its node; the administrator puts that back to work, the user submits again."""
    eventually(lambda: any("held" in row["Reason"] for row in lab.squeue()), 60)
    campaign.becomes("0", "queued")
    assert "could not be launched" in campaign("status", COLUMNS="200").out
    lab.run("scontrol", "update", f"NodeName={lab.nodes[0]}", "State=RESUME")
    assert "released" in campaign.submit().err
    assert "released" not in campaign.submit().err
    done_undisturbed(campaign, steps=steps)


def running(lab: Lab) -> str:
    return next(row["JobArrayID"] for row in lab.squeue() if row["State"] == "RUNNING")


def node_of(lab: Lab) -> str:
    return str(next(row["NodeList"] for row in lab.squeue() if row["State"] == "RUNNING"))


def test_the_time_limit_is_a_pause(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = Campaign(make_lab(), tmp_path, {"0": "time: 0:01:00, PAYLOAD_STEPS: 600"})
    campaign.submit()
    done_undisturbed(campaign, word="0", steps=600)
    ends = [records[-1] for records in campaign.records("0")]
    assert len(ends) > 1 and all(end.get("reason") == "timeout" for end in ends[:-1])


def test_no_more_pauses_than_its_retries_allow(make_lab: MakeLab, tmp_path: Path) -> None:
    settings = "time: 0:01:00, PAYLOAD_STEPS: 100000, retries: {timeout: 0}"
    campaign = Campaign(make_lab(), tmp_path, {"0": settings})
    campaign.submit()
    end = campaign.ends(150)["0"]
    assert end["state"] == "failed" and "gave up: timeout more than 0 times" in end["error"]


def test_a_job_deaf_to_signals_is_killed_and_lost(make_lab: MakeLab, tmp_path: Path) -> None:
    settings = "time: 0:01:00, PAYLOAD_STEPS: 100000, PAYLOAD_FAULT: deaf"
    campaign = Campaign(make_lab(conf=QUICK), tmp_path, {"0": settings})
    campaign.submit()
    end = campaign.ends(200)["0"]
    assert end["state"] == "lost"
    assert "time limit" in end["error"] and "checkpoint of step" in end["error"]


@pytest.mark.parametrize("grace", [0, 20], ids=["no grace", "grace"])
@pytest.mark.parametrize("told", [True, False], ids=["user signal", "no user signal"])
def test_preemption_is_a_pause(make_lab: MakeLab, tmp_path: Path, grace: int, told: bool) -> None:
    conf = QUICK if told else QUICK | {"SlurmctldParameters": "cloud_reg_addrs"}
    lab = make_lab(nodes=1, conf=conf, partitions={"scavenge": {"GraceTime": grace}})
    campaign = Campaign(lab, tmp_path, {"0": f"partition: scavenge, gpus_per_node: 8, {LONG}"})
    campaign.submit()
    campaign.begun(step=20)
    lab.run("sbatch", "--gres=gpu:8", "--wrap", "sleep 3", "--output=/dev/null")
    done_undisturbed(campaign, attempts=2)
    assert campaign.types()[0] == "preempted"
    assert campaign.records()[0][-1]["reason"] == "preempted"


def test_a_node_that_dies(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=2, conf=IMPATIENT)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit()
    campaign.begun(step=20)
    lab.kill_node(node_of(lab))
    done_undisturbed(campaign, attempts=2)


def test_a_node_that_dies_again_and_again(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=2, conf=IMPATIENT)
    campaign = Campaign(lab, tmp_path, {"0": f"{LONG}, retries: {{node_failure: 0}}"})
    campaign.submit()
    campaign.begun(step=20)
    lab.kill_node(node_of(lab))
    end = campaign.ends(150)["0"]
    assert end["state"] == "failed" and "gave up: node failure more than 0 times" in end["error"]


def test_a_node_that_is_cut_off_but_alive(make_lab: MakeLab, tmp_path: Path) -> None:
    """Two copies at once: the older one sees the newer and stops; it neither finishes nor requeues the other."""
    lab = make_lab(nodes=2, conf=IMPATIENT)
    campaign = Campaign(lab, tmp_path, {"0": f"{LONG}, PAYLOAD_FIRST: 1"})
    campaign.submit()
    campaign.begun(step=6)
    lab.freeze(node_of(lab))
    campaign.begun(attempt=2, seconds=120)
    eventually(lambda: campaign.types()[0] == "preempted", 20)
    assert campaign.records()[0][-1]["reason"] == "superseded"
    done_undisturbed(campaign, attempts=2)


def test_slurmd_alone_and_the_controller_may_stop(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit()
    campaign.begun(step=10)
    lab.stop("n1", signal.SIGKILL)
    lab.restart_controller()
    lab.start("n1")
    done_undisturbed(campaign, attempts=1)


def test_without_an_answer_the_state_is_the_last_one_seen(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    back = tmp_path / "back"
    campaign = Campaign(lab, tmp_path, {"0": f"PAYLOAD_STEPS: 50, PAYLOAD_UNTIL: {back}"})
    campaign.submit()
    campaign.begun(step=10)
    assert campaign.states() == {"0": "running"}
    lab.saved(running(lab))
    lab.stop("slurmctld", signal.SIGKILL)
    assert [campaign.states()["0"] for _ in range(3)] == ["running"] * 3
    lab.start("slurmctld")
    back.touch()
    done_undisturbed(campaign, attempts=1, steps=50)


def test_a_start_that_the_controller_forgot(make_lab: MakeLab, tmp_path: Path) -> None:
    """Killed before it saved that the job runs, it starts it again: the node, which has it, refuses and is drained, the
    job is killed and held."""
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    lab.run("scontrol", "update", "PartitionName=gpu", "State=DOWN")
    campaign.submit("--unchecked")
    lab.saved(lab.squeue()[0]["JobArrayID"])
    state = lab.folder / "state" / "job_state"
    waiting = state.read_bytes()
    lab.run("scontrol", "update", "PartitionName=gpu", "State=UP")
    campaign.begun(step=5)
    lab.stop("slurmctld", signal.SIGKILL)
    state.write_bytes(waiting)
    lab.start("slurmctld")
    done_undisturbed_once_released(lab, campaign)


def test_a_job_that_could_not_be_launched_is_held_until_the_next_submit(make_lab: MakeLab, tmp_path: Path) -> None:
    once = tmp_path / "prolog"
    once.write_text(f"#!/bin/sh\n[ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; exit 1; }}\n")
    once.chmod(0o755)
    lab = make_lab(nodes=1, conf={"Prolog": once})
    campaign = Campaign(lab, tmp_path)
    campaign.submit()
    done_undisturbed_once_released(lab, campaign, steps=20)


def test_suspended_is_alive(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit()
    campaign.begun(step=10)
    job = running(lab)
    lab.run("scontrol", "suspend", job)
    assert campaign.states() == {"0": "running"}
    lab.run("scontrol", "resume", job)
    done_undisturbed(campaign, attempts=1)


def test_a_finished_job_that_is_requeued_refuses(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path)
    campaign.submit()
    done_undisturbed(campaign, attempts=1, steps=20)
    job = lab.squeue()[0]["JobArrayID"]
    lab.run("scontrol", "requeue", job)
    lab.becomes(job, "COMPLETED", 60)
    done_undisturbed(campaign, attempts=1, steps=20)


def test_a_controller_that_forgot_everything_and_gives_out_the_number_again(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit("--max-parallel", "1")
    campaign.begun(step=10)
    job = lab.squeue()[0]["JobArrayID"].partition("_")[0]
    lab.stop("slurmctld", signal.SIGKILL)
    lab.kill_node("n1")
    for path in sorted((lab.folder / "state").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    conf = lab.conf.read_text()
    lab.conf.write_text(
        "\n".join(line for line in conf.splitlines() if not line.startswith("FirstJobId")) + f"\nFirstJobId={job}\n"
    )
    lab.start("slurmctld")
    lab.start("n1")
    eventually(lambda: "idle" in lab.run("sinfo", "-h"), 60)
    lab.run("sbatch", "--array=0", "--wrap", "sleep 600", "--output=/dev/null")
    assert any(row["JobArrayID"] == f"{job}_0" for row in lab.squeue())
    campaign.states()
    assert eventually(lambda: campaign.states()["0"] == "lost", 20, every=0.6)
    assert campaign.submit().code == 0
    done_undisturbed(campaign, attempts=2)


def test_killed_by_hand_rank_step_and_script(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    at_once = f"PAYLOAD_STEPS: {STEPS}, PAYLOAD_FIRST: 0.5"
    campaign = Campaign(lab, tmp_path, dict.fromkeys(("rank", "step", "script"), at_once))
    campaign.submit()
    for word in campaign.words:
        campaign.begun(word, step=10)
    pids = {word: campaign.records(word)[0][0]["pid"] for word in campaign.words}
    os.kill(pids["rank"], signal.SIGKILL)
    jobs = {word: campaign.records(word)[0][0]["job"] for word in campaign.words}
    lab.run("scancel", "--signal=KILL", f"{jobs['step']}.0")
    lab.run("scancel", "--signal=KILL", "--batch", jobs["script"])
    ends = campaign.ends(120)
    assert {word: end["state"] for word, end in ends.items()} == dict.fromkeys(campaign.words, "lost")
    assert all("signal 9" in ends[word]["error"] for word in ("rank", "step"))
    assert campaign.submit().code == 0
    for word in campaign.words:
        done_undisturbed(campaign, attempts=2, word=word)


def test_a_job_that_takes_more_memory_than_it_asked_for(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, conf={"JobAcctGatherParams": "OverMemoryKill"})
    campaign = Campaign(lab, tmp_path, {"0": "PAYLOAD_FAULT: memory"})
    campaign.submit()
    end = campaign.ends()["0"]
    assert end["state"] == "lost" and "memory" in end["error"]


def test_a_signal_while_it_still_imports(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": "retries: {failed: 1}"})
    campaign.submit()
    lab.becomes(lab.squeue()[0]["JobArrayID"], "RUNNING")
    lab.run("scancel", "--signal=USR2", lab.squeue()[0]["JobArrayID"])
    status = campaign.ends()["0"]
    assert status["state"] == "done" and campaign.link() == link(20), status


def test_a_disk_that_is_full(make_lab: MakeLab, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("a small disk can be mounted by root only")
    lab = make_lab(nodes=1)
    home = tmp_path / "home"
    home.mkdir()
    lab.run("mount", "-t", "tmpfs", "-o", "size=5m,mode=700", "tmpfs", str(home))
    try:
        campaign = Campaign(lab, tmp_path, {"0": f"{LONG}"})
        campaign.submit()
        campaign.begun(step=10)
        filler = home / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        eventually(lambda: not any(row["State"] == "RUNNING" for row in lab.squeue()), 90)
        refused = campaign("status")  # the store is on that disk too
        assert refused.code in (0, 1, 3) and "Traceback" not in refused.err
        filler.unlink()
        assert campaign.states()["0"] in ("failed", "lost")
        assert campaign.submit("--retry-failed").code == 0
        done_undisturbed(campaign)
    finally:
        lab.cancel_all()
        lab.run("umount", "-l", str(home))


def test_a_file_system_that_hangs_for_a_minute(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1)
    home, image = tmp_path / "home", tmp_path / "disk"
    home.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 64 << 20)
    lab.run("mkfs.ext4", "-q", image)
    try:
        lab.run("mount", "-o", "loop", image, home)
    except LabError as error:
        pytest.skip(f"a disk of its own can't be mounted: {error}")
    try:
        campaign = Campaign(lab, tmp_path, {"0": LONG})
        campaign.submit()
        campaign.begun(step=10)
        lab.run("sh", "-c", 'fsfreeze -f "$0"; sleep 60; fsfreeze -u "$0"', home, timeout=90)
        done_undisturbed(campaign, attempts=1)
        times = [record["time"] for record in campaign.records()[0] if "time" in record]
        assert max(after - before for before, after in pairwise(times)) > 50
    finally:
        lab.cancel_all()
        lab.run("umount", "-l", home)


def test_a_process_that_hangs(make_lab: MakeLab, tmp_path: Path) -> None:
    """As one in an uninterruptible write looks from outside: it does nothing at all, and goes on."""
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path, {"0": LONG})
    campaign.submit()
    campaign.begun(step=10)
    pid: Any = campaign.records()[0][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert {campaign.states()["0"] for _ in range(4)} == {"running"}
    finally:
        os.kill(pid, signal.SIGCONT)
    done_undisturbed(campaign, attempts=1)


@pytest.mark.parametrize("accounting", [True, False])
def test_a_job_that_the_controller_has_forgotten(make_lab: MakeLab, tmp_path: Path, accounting: bool) -> None:
    lab = make_lab(nodes=1, accounting=accounting, conf={"MinJobAge": 2})
    campaign = Campaign(lab, tmp_path, {"done": "", "cancelled": "PAYLOAD_STEPS: 10000"})
    campaign.submit()
    campaign.begun("cancelled", step=10)
    job = campaign.records("cancelled")[0][0]["job"]
    os.kill(campaign.records("cancelled")[0][0]["pid"], signal.SIGKILL)
    lab.run("scancel", "--signal=KILL", "--full", job)
    eventually(lambda: not lab.squeue(), 150, every=2)
    campaign.states()
    campaign.becomes("cancelled", "lost", 30)
    assert campaign.states()["done"] == "done"
