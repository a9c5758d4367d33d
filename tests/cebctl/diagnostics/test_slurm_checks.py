"""Clusters that the one-machine Slurm can't be: what they are like, and what keeps a matrix from running on them."""

from __future__ import annotations

import itertools
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cebctl.diagnostics import slurm_checks
from cebctl.diagnostics.resource_limits import validate_requests
from cebctl.diagnostics.resource_warnings import preemption_warning
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from experiments.matrix.resources_section import Rules
from jobs.paths import Home
from jobs.slurm.client import NoAnswerError, NotConfiguredError
from jobs.slurm.cluster_info import UNLIMITED, Accounting, Association, ClusterInfo, Node, Partition, Qos

BASE = "base: {objective: xent, data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 64}"


def node(name: str, *partitions: str, **given: Any) -> Node:
    usual: dict[str, Any] = {"state": "IDLE", "cpus": 64, "memory": 256_000.0, "gpus": {"a100": 4}}
    return Node(**usual | {"name": name, "host": name, "features": frozenset(), "partitions": partitions} | given)


def partition(name: str, **given: Any) -> Partition:
    usual: dict[str, Any] = dict.fromkeys(("max_time", "default_time", "max_nodes"), UNLIMITED)
    usual |= dict.fromkeys(("max_cpus_per_node", "max_memory_per_node"), UNLIMITED)
    usual |= dict.fromkeys(("allow_accounts", "allow_qos", "allow_groups"))
    usual |= {"state": "UP", "default": name == "gpu", "min_nodes": 0.0, "default_memory": ("cpu", 8000.0)}
    usual |= {"deny_accounts": frozenset(), "priority_tier": 1.0, "preempt_mode": "OFF", "grace_time": 0.0}
    return Partition(**usual | {"name": name, "whole_nodes": False, "qos": ""} | given)


def site(*nodes: Node, partitions: tuple[Partition, ...] = (partition("gpu"),), **given: Any) -> ClusterInfo:
    usual: dict[str, Any] = {"config": {}, "reservations": frozenset(), "accounting": None}
    named = {one.name: one for one in partitions}
    return ClusterInfo(
        **usual | {"partitions": named, "nodes": nodes or (node("g1", "gpu"), node("g2", "gpu"))} | given
    )


@pytest.fixture
def said(tmp_path: Path):  # type: ignore[no-untyped-def]
    """What is wrong, or worth a note, with resources on a site, without the beginning of each line."""

    def said(there: ClusterInfo, resources: str, level: str = "wrong") -> list[str]:
        path = tmp_path / "m.yaml"
        path.write_text(f"{BASE}\nresources: {{train: {{{resources}}}}}\n")
        found = [one for one in validate_requests(load(path), there) if one.level == level]
        return [one.text.removeprefix(f"{path}, resources.train: ").removesuffix(" (1 job)") for one in found]

    return said


MIXED = (
    node("g1", "gpu", features=frozenset({"ib", "old"})),
    node("g2", "gpu", gpus={"h100": 8}, memory=1_000_000.0, features=frozenset({"ib"})),
    node("c1", "cpu", gpus={}, cpus=128),
)
TWO = (partition("gpu"), partition("cpu"))
SHORT = (partition("gpu", max_time=32_400.0), partition("cpu"))


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        ("gpus_per_node: 8, gpu_type: h100, memory: 900G", []),
        ("gpus_per_node: 8", []),
        ("gpus_per_node: 5, gpu_type: a100", ["partition gpu has at most 4 a100 in a node, not 5"]),
        ("gpus_per_node: 1, gpu_type: a100, memory: 900G",
         ["partition gpu has no node with all of that at once, and 1 are asked for"]),
        ("nodes: 2, gpus_per_node: 8", ["partition gpu has 1 node with all of that at once, and 2 are asked for"]),
        ("partition: cpu, gpus_per_node: 1", ["partition cpu has no GPUs"]),
        ("partition: 'cpu,gpu', gpus_per_node: 1", []),
        ("partition: cpu, cpus: 128", []),
        ("constraint: 'ib&old'", []),
        ("constraint: 'ib&new'", ["no node of partition gpu has the feature new; they have ib, old"]),
        ("constraint: 'new|old'", []),
        ("constraint: '!new&ib'", []),
        ("constraint: '[new|newer]'", ["no node of partition gpu has the feature new or newer; they have ib, old"]),
    ],
)  # fmt: skip
def test_machines_of_several_kinds(said: Any, resources: str, wrong: list[str]) -> None:
    assert said(site(*MIXED, partitions=TWO), resources) == wrong


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        ("gpus_per_node: 9, gpu_type: v100, cpus_per_gpu: 9",
         ["partition gpu has no GPU of type v100; it has a100 (4 per node), h100 (8 per node)",
          "partition gpu has at most 8 GPUs in a node, not 9",
          "partition gpu gives at most 64 cores of a node, not 81"]),
        ("nodes: 3, gpus_per_node: 8",
         ["partition gpu gives a job at most 2 nodes, not 3",
          "partition gpu has 1 node with all of that at once, and 3 are asked for"]),
        ("gpus_per_node: 5, gpu_type: a100, memory: 900G",
         ["partition gpu has at most 4 a100 in a node, not 5",
          "partition gpu has no node with that much at once, and 1 are asked for"]),
        ("partition: cpux, gpus_per_node: 9",
         ["there is no partition cpux; did you mean 'cpu'? (allowed: cpu, gpu)",
          "partition gpu has at most 8 GPUs in a node, not 9"]),
        ("partition: cpu, gpus_per_node: 9, time: 9:00:01",
         ["partition cpu has no GPUs", "partition gpu allows 09:00:00 at most, not 9:00:01",
          "partition gpu has at most 8 GPUs in a node, not 9"]),
        ("partition: 'gpu,a,b', constraint: 'ib&new&newer'",
         ["there is no partition a; allowed: cpu, gpu", "there is no partition b; allowed: cpu, gpu",
          "no node of partition gpu has the feature new or newer; they have ib, old"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_said_at_once(said: Any, resources: str, wrong: list[str]) -> None:
    assert said(site(*MIXED, partitions=SHORT), resources) == wrong


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    path = tmp_path_factory.mktemp("matrix") / "m.yaml"
    path.write_text(BASE)
    return load(path)


@given(
    wanted=st.fixed_dictionaries({}, optional={
        "partition": st.sampled_from(["cpu", "gpu", "cpux"]), "nodes": st.integers(1, 3),
        "gpus_per_node": st.integers(0, 20), "gpu_type": st.sampled_from(["a100", "h100", "v100"]),
        "cpus": st.integers(1, 99), "cpus_per_gpu": st.integers(1, 80),
        "memory": st.sampled_from(["1G", "900G", "2000G"]), "time": st.sampled_from(["9:00:00", "9:00:01"]),
        "constraint": st.sampled_from(["ib", "new&newer"]),
    })
)  # fmt: skip
def test_who_does_what_is_said_is_told_nothing_more(matrix: Matrix, wanted: dict[str, Any]) -> None:
    def told(resources: dict[str, Any]) -> list[str]:
        asked = replace(matrix, rules=Rules({"train": {(name,): value for name, value in resources.items()}}))
        return [one.todo for one in validate_requests(asked, site(*MIXED, partitions=SHORT)) if one.level == "wrong"]

    todo = told(wanted)
    assume(not any(one.startswith("ask for less") for one in todo))
    steps = [re.fullmatch(r"(?:set|leave out) (\w+) in .*, resources.train(?: to (?:at most )?([^;]+).*)?", one)
             for one in todo]  # fmt: skip
    choices = [[(step[1], int(value) if value.isdigit() else value or None) for value in (step[2] or "").split(" or ")]
               for step in steps if step]  # fmt: skip
    assert len(choices) == len(todo)
    assert any(told(wanted | dict(chosen)) == [] for chosen in itertools.product(*choices))


def test_sites_with_little_to_offer(said: Any) -> None:
    assert said(site(partitions=(partition("gpu", default=False),)), "cpus: 1") == [
        "no partition is named, and the cluster has no default one"
    ]
    assert said(site(partitions=()), "cpus: 1") == ["no partition is named, and the cluster has no default one"]
    assert said(site(node("x", "other")), "cpus: 1") == ["partition gpu has no nodes"]
    assert said(site(partitions=(partition("gpu", max_nodes=1.0),)), "nodes: 2") == [
        "partition gpu gives a job at most 1 node, not 2"
    ]
    for most, text in ((4.0, "between 3 and 4 nodes"), (3.0, "3 nodes")):
        there = site(
            *(node(f"g{i}", "gpu") for i in range(5)), partitions=(partition("gpu", min_nodes=3.0, max_nodes=most),)
        )
        assert said(there, "nodes: 2") == [f"partition gpu gives a job {text}, not 2"]
    capped = partition("gpu", max_cpus_per_node=8.0, max_memory_per_node=64_000.0)
    assert said(site(partitions=(capped,)), "cpus: 9, memory: 64G") == [
        "partition gpu gives at most 8 cores of a node, not 9",
        "partition gpu gives at most 64000M of memory in a node, not 64G",
    ]


def test_the_nearest_partition_is_one_that_lets_the_jobs_in_and_takes_any(said: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)
    there = site(
        node("c1", "cpu", gpus={}), node("g1", "gpu"), node("o1", "other", gpus={"a100": 1}, cpus=8),
        node("z1", "shut"),
        partitions=(partition("cpu"), partition("gpu", allow_groups=frozenset({"admins-of-this"})), partition("other"),
                    partition("shut", max_nodes=0.0), partition("many", min_nodes=4.0)),
    )  # fmt: skip
    assert said(there, "partition: cpu, gpus_per_node: 2, cpus: 16") == [
        "partition cpu has no GPUs",
        "partition other has at most 1 GPU in a node, not 2",
        "partition other gives at most 8 cores of a node, not 16",
    ]
    assert said(there, "partition: shut") == ["partition shut takes no jobs: its limits leave them nothing"]
    few = site(node("m1", "many"), partitions=(partition("many", min_nodes=4.0),))
    assert said(few, "partition: many") == ["partition many takes no jobs: its limits leave them nothing"]


def test_nodes_out_of_service_are_waited_for(said: Any) -> None:
    there = site(node("g1", "gpu", state="DOWN*"), node("g2", "gpu", state="IDLE+DRAIN"))
    assert said(there, "memory: 4G") == []
    assert said(there, "memory: 4G", "note") == [
        "0 of the 2 nodes of partition gpu that could run it are in service: it waits"
    ]


def test_what_a_job_gets_that_asks_for_nothing(said: Any) -> None:
    for default, text in (
        (None, "gives a job all 256000M of a node, so that no two share one"),
        (("gpu", 2000.0), "gives a job 2000M, which is little for torch"),
        (("node", 16000.0), ""),
    ):
        notes = said(site(partitions=(partition("gpu", default_memory=default),)), "gpus_per_node: 1", "note")
        assert [text in note for note in notes] == [True] * bool(text)
    whole = site(partitions=(partition("gpu", whole_nodes=True),))
    assert said(whole, "gpus_per_node: 1", "note") == ["partition gpu gives whole nodes only: of 4 GPUs a job uses 1"]


ME = Accounting(
    (Association("lab", "", frozenset({"normal", "long"}), UNLIMITED, 3600.0), Association("other", "", frozenset())),
    {"normal": Qos("normal"), "long": Qos("long", max_time=7200.0), "free": Qos("free", preempts=frozenset())},
)


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        ("account: other, time: 9:00:00", []),
        ("account: lab, time: 1:00:01", ["account lab allows 01:00:00 at most, not 1:00:01"]),
        ("account: other, qos: long",
         ["QOS long is not yours; "]),
        ("qos: long, account: lab, time: 3:00:00",
         ["QOS long allows 02:00:00 at most, not 3:00:00", "account lab allows 01:00:00 at most, not 3:00:00"]),
    ],
)  # fmt: skip
def test_accounts_and_their_limits(said: Any, resources: str, wrong: list[str]) -> None:
    there = site(accounting=ME, config={"AccountingStorageEnforce": "associations,limits,qos"})
    found = said(there, resources)
    assert [text.startswith(begin) for text, begin in zip(found, wrong, strict=True)] == [True] * len(wrong)
    nobody = replace(there, accounting=Accounting((), {}))
    assert said(nobody, "cpus: 1") == ["Slurm's accounting does not know you"]
    assert said(replace(nobody, config={}), "account: whatever") == []  # nothing is enforced


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        ("nodes: 2, gpus_per_node: 1, gpu_type: a100, memory: 16G, cpus: 8", []),
        (
            "gpus_per_node: 4, gpu_type: a100",
            ["account lab limits the GPUs of type a100 of a job to 3, and 4 are asked for"],
        ),
        ("nodes: 3, gpus_per_node: 2", ["QOS normal limits the GPUs of a job to 4, and 6 are asked for"]),
        ("nodes: 3, gpus_per_node: 2, qos: long", []),
        ("nodes: 2, memory: 17G", ["QOS normal limits the megabytes of a job to 32768, and 34816 are asked for"]),
        ("nodes: 2, cpus: 9", ["account lab limits the cores of a job to 16, and 18 are asked for"]),
        ("nodes: 4", ["account lab limits the nodes of a job to 3, and 4 are asked for"]),
    ],
)
def test_what_accounting_lets_one_job_have(said: Any, resources: str, wrong: list[str]) -> None:
    limits = {"node": 3.0, "cpu": 16.0, "gres/gpu:a100": 3.0}
    account = Association("lab", "", frozenset({"normal", "long"}), job_limits=limits)
    known = {"normal": Qos("normal", job_limits={"gres/gpu": 4.0, "mem": 32_768.0}), "long": Qos("long")}
    there = site(*(node(f"g{number}", "gpu") for number in range(4)), accounting=Accounting((account,), known))
    assert said(replace(there, config={"AccountingStorageEnforce": "limits"}), resources) == wrong
    assert said(there, resources) == []  # nothing is enforced


def test_preemption_by_qos_and_by_partition() -> None:
    free = replace(ME, qos=ME.qos | {"normal": Qos("normal", preempts=frozenset({"free"}))})
    by_qos = site(accounting=free, config={"PreemptType": "preempt/qos", "KillWait": "30 sec"})
    requeued = partition("gpu", preempt_mode="REQUEUE")
    assert "QOS free give way to others with GraceTime 0 s, then KillWait 30 s" in str(
        preemption_warning("free", requeued, by_qos)
    )
    assert preemption_warning("normal", requeued, by_qos) is None
    assert preemption_warning("free", partition("gpu"), by_qos) is None  # the partition keeps its jobs
    graceful = replace(by_qos, accounting=replace(free, qos=free.qos | {"free": Qos("free", grace_time=60.0)}))
    assert preemption_warning("free", requeued, graceful) is None
    for grace, is_enough in ((1.0, False), (29.0, False), (30.0, True)):
        some = replace(by_qos, accounting=replace(free, qos=free.qos | {"free": Qos("free", grace_time=grace)}))
        assert (preemption_warning("free", requeued, some) is None) == is_enough
    by_tier = site(
        node("g1", "low", "high"), node("g2", "alone"), config={"PreemptType": "preempt/partition_prio"},
        partitions=(
            partition("low", preempt_mode="GANG,SUSPEND"), partition("alone", preempt_mode="CANCEL"),
            partition("high", priority_tier=9.0, preempt_mode="REQUEUE"),
        ),
    )  # fmt: skip
    assert "suspended" in str(preemption_warning(None, by_tier.partitions["low"], by_tier))
    assert preemption_warning(None, by_tier.partitions["high"], by_tier) is None
    assert preemption_warning(None, by_tier.partitions["alone"], by_tier) is None  # nobody above shares its nodes


# --- the cluster itself ---


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, home: Path):  # type: ignore[no-untyped-def]
    """The findings of one level about a site, or about a Slurm that raises."""
    monkeypatch.setattr(slurm_checks.shutil, "which", lambda command: f"/usr/bin/{command}")

    def examined(there: ClusterInfo | Exception, level: str, folder: Path = home) -> list[str]:
        def ask() -> ClusterInfo:
            if isinstance(there, Exception):
                raise there
            return there

        monkeypatch.setattr(slurm_checks.sites, "query", ask)
        return [one.text for one in slurm_checks.examine_cluster(Home(folder)) if one.level == level]

    return examined


def here(**given: Any) -> ClusterInfo:
    """A site of this machine alone."""
    host = socket.gethostname()
    return site(node("n1", "gpu", host=host), **{"accounting": ME, "config": {"MaxArraySize": "1001"}} | given)


def test_a_sound_cluster(examined: Any) -> None:
    assert examined(here(), "wrong") == examined(here(), "note") == []
    assert "partition gpu (default): 1 x (64 cores, 256000M, 4 a100), no time limit" in examined(here(), "ok")


@pytest.mark.parametrize(
    ("given", "level", "text"),
    [
        ({"answered_in": 7.0}, "note", "Slurm of unknown version answers in 7.00 s"),
        ({"clock_ahead": -400.0}, "wrong", "the controller's clock is 400 s behind this machine's"),
        ({"config": {"MaxArraySize": "0"}}, "wrong", "job arrays are switched off (MaxArraySize)"),
        ({"config": {"PrivateData": "jobs,usage"}}, "note", "others' jobs are hidden (PrivateData): "),
        ({"accounting": None}, "note", "no accounting: how a job ended is known for 300 s, "),
        ({"accounting": None, "accounting_error": "refused"}, "note", "the accounting does not answer: refused"),
        ({"accounting": None, "config": {"MinJobAge": "5 sec"}}, "note", "the controller forgets a finished job after"),
        ({"partitions": ()}, "wrong", "no partition is visible"),
        ({"partitions": (partition("gpu", state="DRAIN"),)}, "note", "partition gpu (default): 1 x (64 cores, "),
    ],
)  # fmt: skip
def test_what_a_cluster_lacks(examined: Any, given: dict[str, Any], level: str, text: str) -> None:
    assert any(said.startswith(text) for said in examined(here(**given), level))


def test_an_accounting_makes_up_for_a_short_memory_and_a_long_memory_is_no_complaint(examined: Any) -> None:
    assert examined(here(config={"MaxArraySize": "1001", "MinJobAge": "5 sec"}), "note") == []
    assert [text.split(":")[0] for text in examined(here(accounting=None), "note")] == ["no accounting"]


@pytest.mark.parametrize(
    ("kind", "folder", "level", "text"),
    [
        ("nfs4", "/shared/home", "ok", "the home /shared/home is on nfs4, which nodes can share"),
        ("ext4", "/shared/home", "note", "the home /shared/home is on ext4, which looks local: can g1 see it?"),
        ("tmpfs", "/shared/home", "wrong", "the home /shared/home is on tmpfs, of this machine alone: g1 can't see it"),
        ("ext4", "/tmp/home", "wrong", "the home /tmp/home is on ext4, of this machine alone: g1 can't see it"),
    ],
)
def test_a_home_that_nodes_must_see(
    examined: Any, monkeypatch: pytest.MonkeyPatch, kind: str, folder: str, level: str, text: str
) -> None:
    monkeypatch.setenv("CEBCTL_DATA", "/data")
    monkeypatch.setattr(slurm_checks, "file_system", lambda path: kind)
    monkeypatch.setattr(slurm_checks, "network_file_system", lambda path: kind if kind == "nfs4" else None)
    assert any(said.startswith(text) for said in examined(site(accounting=ME), level, Path(folder)))
    assert not any("the home" in said for said in examined(here(), level, Path(folder)))  # there are no other machines


def test_a_slurm_that_can_not_be_asked(examined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(NoAnswerError("scontrol", "no answer within 20 s"), "wrong") == [
        "the controller does not answer: scontrol: no answer within 20 s"
    ]
    assert "no cluster is configured" in examined(NotConfiguredError(), "note")[0]
    monkeypatch.setattr(slurm_checks.shutil, "which", lambda command: None)
    assert "no Slurm commands on the PATH" in examined(here(), "ok")[0]
    monkeypatch.setattr(slurm_checks.shutil, "which", lambda command: command if command != "srun" else None)
    assert examined(here(), "wrong") == ["srun: not on the PATH, though other Slurm commands are"]
