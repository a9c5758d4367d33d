"""`doctor` on real clusters: what it says is what the cluster does."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, eventually

from cebctl.app import run
from cebctl.diagnostics.resource_limits import validate_requests
from experiments.matrix.load import load
from jobs.slurm import cluster_info

MakeLab = Callable[..., Lab]
Doctor = Callable[..., Any]

BASE = "base: {objective: xent, data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 64}"


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    """The findings of `doctor` about the cluster, given the resources of a matrix."""

    def doctor(resources: str = "", evaluate: str = "") -> Any:
        matrix = tmp_path / "m.yaml"
        matrix.write_text(f"{BASE}\nevaluate: [{evaluate}]\nresources: {{{resources}}}\n")
        run(["doctor", str(matrix), "--json"])
        said = capsys.readouterr()
        assert said.err == ""
        found = json.loads(said.out)["findings"]
        return [(one["level"], one["text"], one["todo"]) for one in found if one["area"] == "cluster"]

    return doctor


TROUBLE = {
    "partition: cpu": "there is no partition cpu; did you mean 'gpu'? (allowed: cautious, closed, gpu, last,",
    "partition: closed": "partition closed is INACTIVE",
    "partition: private, account: lab": "partition private takes only the accounts physics",
    "gpus_per_node: 1, gpu_type: h100": "partition gpu has no GPU of type h100; it has a100 (8 per node)",
    "gpus_per_node: 9": "partition gpu has at most 8 GPUs in a node, not 9",
    "cpus: 17": "partition gpu gives at most 16 cores of a node, not 17",
    "gpus_per_node: 4, cpus_per_gpu: 5": "partition gpu gives at most 16 cores of a node, not 20",
    "memory: 16G": "partition gpu gives at most 16000M of memory in a node, not 16G",
    "nodes: 5": "partition gpu gives a job at most 4 nodes, not 5",
    "partition: short, time: 00:30:01": "partition short allows 00:30:00 at most, not 00:30:01",
    "constraint: infiniband": "no node of partition gpu has the feature infiniband; they have none",
    "account: nobody": "account nobody is not yours; allowed: lab, root",
    "qos: express": "QOS express is not yours; allowed: normal",
    "reservation: workshop": "there is no reservation workshop",
}


@pytest.mark.parametrize("resources", TROUBLE)
def test_what_would_never_start_is_said(lab_accounting: Lab, doctor: Doctor, resources: str) -> None:
    wrong = [(text, todo) for level, text, todo in doctor(f"train: {{{resources}}}") if level == "wrong"]
    assert [text for text, _ in wrong] == [text for text, _ in wrong if TROUBLE[resources] in text] != []
    assert all(todo for _, todo in wrong)


def test_what_is_wrong_with_one_stage_hides_nothing_of_the_other(lab: Lab, doctor: Doctor) -> None:
    found = doctor("train: {gpus_per_node: 9, gpu_type: h100}, evaluate: {memory: 4G}", evaluate="clean")
    assert [text.partition("resources.")[2] for level, text, _ in found if level == "wrong"] == [
        "train: partition gpu has no GPU of type h100; it has GPUs without a type (8 per node) (1 job)",
        "train: partition gpu has at most 8 GPUs in a node, not 9 (1 job)",
    ]
    [rehearsed] = [text for _, text, _ in found if "sbatch would take it" in text]
    assert "resources.evaluate" in rehearsed


def test_what_would_start_is_not_held_up(lab_accounting: Lab, doctor: Doctor) -> None:
    """Nothing at all, the most there is, and alternatives of which one will do."""
    for resources in (
        "",
        "train: {nodes: 4, gpus_per_node: 8, gpu_type: a100, cpus: 16, memory: 16000M, time: 7-00:00:00}",
        "train: {partition: 'closed,short', time: 00:30:00, account: lab, qos: normal, memory: 4G}",
    ):
        found = doctor(resources)
        assert [text for level, text, _ in found if level == "wrong"] == []
        assert any("sbatch would take it, it could start at" in text for _, text, _ in found)


def test_what_is_worth_knowing(lab_accounting: Lab, doctor: Doctor) -> None:

    def notes(resources: str) -> list[str]:
        found = doctor(f"train: {{{resources}}}")
        return [text for level, text, _ in found if level == "note" and "resources.train" in text]

    expected = {
        "partition: short, memory: 4G": "it names no time: partition short ends each attempt after 00:10:00",
        "partition: scavenge, memory: 4G": "with GraceTime 0 s, then KillWait 5 s: too short for a large network",
        "partition: last, memory: 4G": "are cancelled for others (PreemptMode=CANCEL)",
        "cpus: 3": "it names no memory: partition gpu gives a job 300M",
    }
    for resources, text in expected.items():
        assert [text in note for note in notes(resources)] == [True], resources
    assert notes("partition: cautious, memory: 4G, time: 01:00:00") == []


def test_limits_of_what_may_be_queued(lab_accounting: Lab, tmp_path: Path) -> None:
    def limit(jobs: int) -> None:
        lab_accounting.run("sacctmgr", "-i", "modify", "user", lab_accounting.user, "set", f"MaxSubmitJobs={jobs}")

    path = tmp_path / "m.yaml"
    path.write_text(
        f"{BASE}\nresources: {{train: {{memory: 4G}}}}\ngrids: [{{objective: ceb, rho: {{from: 0, to: 6, by: 1}}}}]\n"
    )
    limit(5)
    try:
        found = validate_requests(load(path), cluster_info.query())
    finally:
        limit(-1)
    assert [one.text for one in found] == [f"{path}: 7 jobs are more than the 5 that account lab lets you queue"]


@pytest.mark.parametrize(
    ("whose", "limit", "text"),
    [
        (
            ("qos", "normal"),
            "MaxTRESPerJob=gres/gpu=2",
            "QOS normal limits the GPUs of a job to 2, and 4 are asked for",
        ),
        (("qos", "normal"), "MaxTRESPerUser=node=1", "QOS normal limits the nodes of a job to 1, and 2 are asked for"),
        (("user", "root"), "MaxTRESPerJob=cpu=3", "account lab limits the cores of a job to 3, and 4 are asked for"),
    ],
)
def test_what_accounting_lets_no_job_have(
    lab_accounting: Lab, doctor: Doctor, whose: tuple[str, str], limit: str, text: str
) -> None:
    """Slurm takes such a job and never starts it."""
    name, _, _ = limit.rpartition("=")
    modify = ("sacctmgr", "-i", "modify", *whose, "set")
    lab_accounting.run(*modify, limit)
    try:
        found = doctor("train: {nodes: 2, gpus_per_node: 2, memory: 300M}")
        job = lab_accounting.run(
            "sbatch", "--parsable", "-N2", "--gres=gpu:2", "-n4", "--mem=300M", "--wrap=true"
        ).strip()
        reason = eventually(lambda: lab_accounting.run("squeue", "-hj", job, "-o%r").strip().replace("None", ""))
        lab_accounting.run("scancel", job)
    finally:
        lab_accounting.run(*modify, f"{name}=-1")
    [said] = [said for level, said, _ in found if level == "wrong"]
    assert said.endswith(f", resources.train: {text} (1 job)")
    assert re.match("(QOS|Assoc)Max(GRES|Node|Cpu)", reason)


def test_a_cluster_without_accounting(lab: Lab, doctor: Doctor) -> None:
    found = doctor()
    assert any(level == "note" and text.startswith("no accounting:") for level, text, _ in found)
    assert not [text for level, text, _ in found if level == "wrong"]


def test_a_controller_that_is_down(make_lab: MakeLab, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    lab.stop("slurmctld", signal.SIGKILL)
    [(level, text, _)] = doctor()
    assert level == "wrong" and "does not answer" in text
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    [(level, text, _)] = doctor()
    assert level == "wrong" and "SLURM_CONF names /nowhere/slurm.conf, which is not there" in text


def test_submit_sends_nothing_that_would_never_start(
    lab: Lab, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"{BASE}\nresources: {{train: {{nodes: 9, memory: 99G}}}}\n")
    assert run(["submit", str(path), "--on", "slurm"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{path}, resources.train: partition gpu gives a job at most 4 nodes, not 9 (1 job); "
        f"set nodes in {path}, resources.train to at most 4",
        f"{path}, resources.train: partition gpu gives at most 16000M of memory in a node, not 99G (1 job); "
        f"set memory in {path}, resources.train to at most 16000M",
    ]
    unfinished = ("PENDING", "RUNNING")  # a test before this one may have left finished jobs
    assert not [row for row in lab.squeue() if row["State"] in unfinished]
    assert not home.exists()
    assert run(["submit", str(path), "--on", "slurm", "--unchecked"]) == 0
    assert [row["State"] for row in lab.squeue() if row["State"] in unfinished] == ["PENDING"]


def test_what_slurm_takes_and_lets_wait_for_ever(lab_accounting: Lab) -> None:
    """Which is why it has to be said before."""
    jobs = {lab_accounting.sbatch("true", "--partition=short", "--time=31"): "PartitionTimeLimit"}
    eventually(lambda: jobs.items() <= {row["JobArrayID"]: row["Reason"] for row in lab_accounting.squeue()}.items())


def test_nodes_out_of_service_and_a_full_queue_only_delay(lab_accounting: Lab, doctor: Doctor) -> None:
    """A test by sbatch refuses both; sbatch itself takes the job, or takes it later."""

    def rehearsal() -> tuple[str, str]:
        found = [(level, text) for level, text, _ in doctor("train: {memory: 4G}")]
        assert "wrong" not in dict(found)
        [answer] = [one for one in found if "resources.train (" in one[1]]
        return answer

    nodes = f"nodename={','.join(lab_accounting.nodes)}"
    lab_accounting.run("scontrol", "update", nodes, "state=DRAIN", "reason=test")
    try:
        level, text = rehearsal()
        assert level == "note" and "it waits for nodes out of service" in text
    finally:
        lab_accounting.run("scontrol", "update", nodes, "state=RESUME")
    modify = ("sacctmgr", "-i", "modify", "user", lab_accounting.user, "set")
    lab_accounting.run(*modify, "MaxSubmitJobs=1")
    try:
        lab_accounting.sbatch("sleep 600")
        level, text = rehearsal()
    finally:
        lab_accounting.run(*modify, "MaxSubmitJobs=-1")
    assert level == "note" and "not now" in text and "Limit" in text


def test_a_start_in_a_year_or_in_centuries_is_no_start(lab: Lab, doctor: Doctor) -> None:
    """Behind jobs without a time limit sbatch names a day all the same."""
    for _ in range(4):
        lab.sbatch("sleep 600", "--exclusive")
    eventually(lambda: [row["State"] for row in lab.squeue()].count("RUNNING") == 4)
    [(level, text, _)] = [one for one in doctor("train: {time: 00:10:00}") if "sbatch would take it" in one[1]]
    assert level == "note" and "Slurm can't say when" in text and not re.search(r"\d{4}-\d\d-\d\d", text)
    lab.cancel_all()
    [(level, text, _)] = [one for one in doctor("train: {time: 00:10:00}") if "sbatch would take it" in one[1]]
    assert level == "ok" and "it could start at" in text
