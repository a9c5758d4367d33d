"""Half an hour of faults over a queue of a hundred short runs: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import Campaign, link
from lab import IMPATIENT, Lab, LabError

MakeLab = Callable[..., Lab]
MINUTES = float(os.environ.get("CEBCTL_SOAK_MINUTES", "30"))
STEPS = 240
SETTINGS = f"PAYLOAD_STEPS: {STEPS}, PAYLOAD_SECONDS: 0.5, retries: {{node_failure: 100, failed: 100}}"


def _running(lab: Lab) -> list[dict[str, str]]:
    return [row for row in lab.squeue() if row["State"] == "RUNNING" and row["Name"].startswith("ceb-")]


def _requeue(lab: Lab, _: Campaign, chance: random.Random) -> None:
    lab.run("scontrol", "requeue", chance.choice(_running(lab))["JobArrayID"])


def _cancel(lab: Lab, _: Campaign, chance: random.Random) -> None:
    lab.run("scancel", chance.choice(_running(lab))["JobArrayID"])


def _kill_step(lab: Lab, _: Campaign, chance: random.Random) -> None:
    lab.run("scancel", "--signal=KILL", f"{chance.choice(_running(lab))['JobArrayID']}.0")


def _warn(lab: Lab, _: Campaign, chance: random.Random) -> None:
    lab.run("scancel", "--signal=USR2", chance.choice(_running(lab))["JobArrayID"])


def _lose_node(lab: Lab, _: Campaign, chance: random.Random) -> None:
    node = chance.choice(lab.nodes)
    lab.kill_node(node)
    time.sleep(15)
    lab.start(node)


def _cut_off(lab: Lab, _: Campaign, chance: random.Random) -> None:
    node = chance.choice(lab.nodes)
    lab.freeze(node)
    time.sleep(15)
    lab.thaw(node)


def _restart(lab: Lab, _: Campaign, chance: random.Random) -> None:
    lab.stop("slurmctld", chance.choice([signal.SIGTERM, signal.SIGKILL]))
    time.sleep(3)
    lab.start("slurmctld")


def _submit(_: Lab, campaign: Campaign, __: random.Random) -> None:
    campaign.submit()


def _administer(lab: Lab) -> None:
    """What an administrator does after such days: drained nodes go back to work."""
    for node in lab.nodes:
        with contextlib.suppress(LabError):  # one that is not drained can't be resumed
            lab.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


FAULTS = (_requeue, _cancel, _kill_step, _warn, _lose_node, _cut_off, _restart, _submit, _submit)


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 3600)
def test_every_run_ends_once_with_the_right_numbers(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=4, cpus=4, conf=IMPATIENT | {"KillWait": 3, "MinJobAge": 60})
    seed = int(time.time())
    chance = random.Random(seed)
    campaign = Campaign(lab, tmp_path, dict.fromkeys(map(str, range(100)), SETTINGS))
    assert campaign.submit("--max-parallel", "8").code == 0
    done: Counter[str] = Counter()
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end and any(state != "done" for state in campaign.states().values()):
        fault = chance.choice(FAULTS)
        with contextlib.suppress(LabError, IndexError, subprocess.TimeoutExpired):  # what it was aimed at has just gone
            fault(lab, campaign, chance)
            done[fault.__name__[1:]] += 1
        time.sleep(chance.uniform(1, 5))
    for _ in range(20):
        _administer(lab)
        campaign.submit()
        if all(run["state"] == "done" for run in campaign.ends(600).values()):
            break
    attempts = {word: campaign.types(word) for word in campaign.words}
    print(f"\nseed {seed}: {sum(done.values())} faults ({dict(done)}), {sum(map(len, attempts.values()))} attempts")
    ends = Counter(end for ends in attempts.values() for end in ends)
    print(f"ends of attempts: {dict(ends)}")
    unfinished = {word: run for word, run in campaign.status().items() if run["state"] != "done"}
    print("\n".join(f"{word}: {run['state']}, {run['error']}" for word, run in unfinished.items()))
    assert {word: ends.count("succeeded") for word, ends in attempts.items()} == dict.fromkeys(campaign.words, 1)
    assert {campaign.link(word) for word in campaign.words} == {link(STEPS)}
