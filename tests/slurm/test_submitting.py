"""From a matrix to the queue: arrays, dependencies, refusals, and everything that may go wrong on the way."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import Campaign
from lab import Lab, eventually

MakeLab = Callable[..., Lab]

EVALUATED = "evaluate: [clean]"
TRANSFER = "evaluate: [clean, transfer: {source: seed = 0, norm: linf, eps: 0.1, only: seed > 0}]"


def queued(lab: Lab) -> Counter[str]:
    """How many elements of each array of ours there are, by the end of its name."""
    rows = [row for row in lab.squeue() if row["Name"].startswith("ceb-") and row["State"] == "PENDING"]
    return Counter("-".join(row["Name"].split("-")[-2:]) for row in rows)


def hold(lab: Lab) -> None:
    """No node takes a job, so that what is submitted stays in the queue."""
    lab.run("scontrol", "update", "NodeName=ALL", "State=DRAIN", "Reason=test")


def dependency(lab: Lab, name: str) -> str:
    job = next(row["JobArrayID"] for row in lab.squeue() if row["Name"].endswith(name))
    text = lab.run("scontrol", "show", "job", job)
    return next(field.partition("=")[2] for field in text.split() if field.startswith("Dependency="))


def test_twice_submits_once_and_evaluations_wait_for_their_training(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab()
    hold(lab)
    campaign = Campaign(lab, tmp_path, 5, EVALUATED)
    first = campaign.submit("--max-parallel", "4")
    assert first.code == 0 and "submitted 5 x train, 5 x evaluate to 2 Slurm arrays" in first.err
    assert "nothing to submit" in campaign.submit().err
    assert queued(lab) == {"train-1": 5, "evaluate-1": 5}
    assert dependency(lab, "evaluate-1").startswith("aftercorr:")
    assert set(campaign.states().values()) == {"queued"}


def test_an_array_is_split_where_the_site_says_so(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(conf={"MaxArraySize": 4})
    hold(lab)
    campaign = Campaign(lab, tmp_path, 9, EVALUATED)
    assert campaign.submit().code == 0
    assert queued(lab) == {"train-1": 4, "train-2": 4, "train-3": 1, "evaluate-1": 4, "evaluate-2": 4, "evaluate-3": 1}


def test_each_set_of_resources_is_an_array_and_indices_match(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab()
    campaign = Campaign(lab, tmp_path, {"0": "", "1": "cpus: 2", "2": "", "3": "cpus: 2"}, EVALUATED)
    assert campaign.submit().code == 0
    eventually(lambda: "succeeded" in campaign.types("3") and len(campaign.records("3", "evaluate")), 60)
    campaign.ends()
    # The payload evaluates nothing, so that a stage which succeeded still has its benchmark to run.
    assert {word: campaign.records(word, "evaluate")[0][0]["submission"] for word in campaign.words}
    began = {word: campaign.records(word, "evaluate")[0][0]["time"] for word in campaign.words}
    assert all(campaign.records(word)[0][-1]["time"] < began[word] for word in campaign.words)


def test_an_evaluation_behind_a_failed_training_never_runs(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = Campaign(make_lab(), tmp_path, {"good": "", "bad": "PAYLOAD_FAULT: raise"}, EVALUATED)
    campaign.submit()
    campaign.ends()
    assert campaign.records("good", "evaluate") and not campaign.records("bad", "evaluate")


def test_an_attack_made_on_another_run_waits_for_both(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab()
    hold(lab)
    campaign = Campaign(lab, tmp_path, 3, TRANSFER)
    assert campaign.submit().code == 0
    assert queued(lab) == {"train-1": 3, "evaluate-1": 1, "evaluate-2": 2}
    assert {part.partition(":")[0] for part in dependency(lab, "evaluate-2").split(",")} == {"aftercorr", "afterany"}


def chain(lab: Lab, folder: Path, payload: str) -> Campaign:
    """Three runs each of which extends the one before; the first is queued by itself, so that one waits for its end and
    one, element by element, for a success."""
    campaign = Campaign(lab, folder, 1)
    campaign.words = dict.fromkeys(("three", "two", "one"), "")
    text = campaign.matrix.read_text().replace("epochs: 1, ", "")
    for before, after in (
        ("grids: [{objective: xent, seed: [0]}]", "grids: [{objective: xent, variants: [three, two, one]}]"),
        (
            "grids:",
            "variants: {one: {epochs: 1}, two: {epochs: 2, extends: [1]}, three: {epochs: 3, extends: [1, 2]}}\ngrids:",
        ),
        ("setup: ['", f"setup: ['export {payload}; "),
    ):
        text = text.replace(before, after, 1)
    campaign.matrix.write_text(text)
    hold(lab)
    assert campaign.submit("--only", "epochs = 1").code == 0
    assert "submitted 2 x train to 2 Slurm arrays" in campaign.submit().err
    jobs = {row["Name"]: row["JobArrayID"] for row in lab.squeue()}.values()
    waits = [lab.run("scontrol", "show", "job", job).partition("Dependency=")[2].split("(")[0] for job in jobs]
    assert sorted(wait.partition(":")[0] for wait in waits) == ["", "afterany", "aftercorr"]
    lab.run("scontrol", "update", "NodeName=ALL", "State=RESUME")
    return campaign


def test_runs_follow_those_they_extend(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = chain(make_lab(), tmp_path, "PAYLOAD_STEPS=3")
    assert {word: run["state"] for word, run in campaign.ends().items()} == dict.fromkeys(campaign.words, "done")
    begun = {word: campaign.records(word)[0][0]["time"] for word in campaign.words}
    ended = {word: campaign.records(word)[-1][-1]["time"] for word in campaign.words}
    assert ended["one"] < begun["two"] and ended["two"] < begun["three"]


def test_what_extends_a_run_that_fails_refuses(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = chain(make_lab(), tmp_path, "PAYLOAD_FAULT=raise")
    assert {word: run["state"] for word, run in campaign.ends().items()} == {
        "one": "failed",
        "two": "new",
        "three": "new",
    }
    assert not campaign.records("two") and not campaign.records("three")
    assert "nothing to submit" in campaign.submit().err


def test_the_job_starts_clean(make_lab: MakeLab, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    campaign = Campaign(make_lab(), folder, {"0": f"setup: ['env > {tmp_path}/seen']"})
    shadow = folder / "jobs"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise SystemExit('the wrong jobs')")
    leaking = {"SLURM_CPU_BIND": "mask_cpu:0x1", "SBATCH_PARTITION": "nowhere", "PYTHONSTARTUP": "x", "SECRET": "x"}
    assert campaign.submit(**leaking).code == 0
    assert campaign.ends()["0"]["state"] == "done"
    seen = dict(line.partition("=")[::2] for line in (tmp_path / "seen").read_text().splitlines() if "=" in line)
    assert not {"SECRET", "PYTHONSTARTUP", "SBATCH_PARTITION"} & seen.keys()
    assert "mask_cpu:0x1" not in seen.values() and seen["SLURM_CONF"] and seen["PYTHONSAFEPATH"] == "1"
    assert str(folder / "home" / "code") in seen["PYTHONPATH"]


def test_a_home_that_slurm_takes_for_a_pattern_is_refused(make_lab: MakeLab, tmp_path: Path) -> None:
    """sbatch took such jobs, of which none started, and submit sent them again."""
    lab = make_lab(nodes=1)
    campaign = Campaign(lab, tmp_path / "50%b")
    answer = campaign.submit()
    assert answer.code == 2 and "by which Slurm takes the path of a log for a pattern" in answer.err
    assert campaign.states() == {"0": "new"} and not queued(lab)


def test_what_the_cluster_refuses_is_given_back(make_lab: MakeLab, tmp_path: Path) -> None:
    """Sent without asking first: of two arrays the second is wrong, and the first is queued by then."""
    lab = make_lab(nodes=1)
    hold(lab)
    campaign = Campaign(lab, tmp_path, {"good": "", "bad": "reservation: nothing"}, EVALUATED)
    answer = campaign.submit("--unchecked")
    assert answer.code == 2 and "Requested reservation is invalid" in answer.err
    assert campaign.states() == {"good": "queued", "bad": "new"}
    assert queued(lab) == {"train-1": 1, "evaluate-1": 1}


@pytest.mark.parametrize("field", ["partition", "account", "qos", "constraint", "reservation"])
def test_nothing_of_a_matrix_reaches_a_shell(make_lab: MakeLab, tmp_path: Path, field: str) -> None:
    """Whatever passes the check of a name is quoted; what does not pass is refused with its place."""
    campaign = Campaign(make_lab(nodes=1), tmp_path, {"0": f'{field}: "gpu$(touch {tmp_path}/pwned)"'})
    answer = campaign.submit()
    assert answer.code == 2 and "m.yaml:" in answer.err and field in answer.err
    assert not (tmp_path / "pwned").exists()


def test_more_than_the_site_lets_a_user_queue(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(accounting=True)
    hold(lab)
    lab.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=5")
    campaign = Campaign(lab, tmp_path, 8)
    answer = campaign.submit()
    assert answer.code == 0 and "not submitted 4 stages" in answer.err, answer.err
    assert queued(lab) == {"train-1": 4}
    assert Counter(campaign.states().values()) == {"queued": 4, "new": 4}


def test_no_controller(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    campaign = Campaign(lab, tmp_path, 2)
    lab.stop("slurmctld", signal.SIGKILL)
    answer = campaign.submit()
    assert answer.code == 3 and answer.err.count("\n") == 1 and "Slurm" in answer.err
    lab.start("slurmctld")
    assert campaign.submit().code == 0
    assert {end["state"] for end in campaign.ends().values()} == {"done"}


def test_no_slurm_at_all(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = Campaign(make_lab(nodes=1), tmp_path)
    answer = campaign.submit(PATH="/nonexistent")
    assert answer.code == 3 and "on the PATH" in answer.err


def test_a_ghost_is_found_and_not_submitted_twice(make_lab: MakeLab, tmp_path: Path) -> None:
    """The controller freezes after it was asked for its limits, and accepts the array when it thaws."""
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    campaign = Campaign(lab, tmp_path, 3)
    answer = campaign.submit(PATH=f"{_freezing(lab, tmp_path)}:{os.environ['PATH']}")
    assert answer.code == 3 and "Socket timed out" in answer.err
    lab.thaw("slurmctld")
    assert len(eventually(lambda: [row for row in lab.squeue() if row["Name"].endswith("train-1")])) == 3
    assert "nothing to submit" in campaign.submit().err
    assert {end["state"] for end in campaign.ends().values()} == {"done"}
    assert all(len(campaign.records(word)) == 1 for word in campaign.words)


def test_a_ghost_that_was_given_up_refuses(make_lab: MakeLab, tmp_path: Path) -> None:
    """Frozen for so long that its claims were released and taken again: it starts, sees that, and ends."""
    lab = make_lab(nodes=1)
    hold(lab)
    campaign = Campaign(lab, tmp_path, 1)
    assert campaign.submit().code == 0
    first = next((campaign.folder / "home" / "submissions").glob("*.jsonl"))
    lines = first.read_text().splitlines()
    claim = next(line for line in lines if '"claim"' in line)
    run_id = campaign.ids["0"]
    assert run_id in claim
    with first.open("a") as file:
        file.write(
            f'{{"type":"released","submission":"{first.stem}","run_id":"{run_id}","stage":"train","reason":"test"}}\n'
        )
    assert campaign.submit().code == 0
    lab.run("scontrol", "update", "NodeName=ALL", "State=RESUME")
    assert campaign.ends()["0"]["state"] == "done"
    assert [records[0]["submission"] for records in campaign.records()] != [first.stem]
    assert len(campaign.records()) == 1


def _freezing(lab: Lab, folder: Path) -> Path:
    """A folder with an `sbatch` that freezes the controller before it asks it."""
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "sbatch"
    script.write_text(f'#!/bin/sh\nkill -STOP {lab.pid("slurmctld")}\nexec {shutil.which("sbatch")} "$@"\n')
    script.chmod(0o755)
    return programs
