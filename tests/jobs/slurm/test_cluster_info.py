"""Reading a cluster from what Slurm prints, its oddities included; the real one stands in tests/slurm."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import UnreachableError
from jobs.slurm import client, cluster_info
from jobs.slurm.cluster_info import UNLIMITED, ClusterInfo, format_time, parse_megabytes, query

Answers = Callable[..., ClusterInfo]

CONFIG = """Configuration data as of {now}
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
DefMemPerNode           = UNLIMITED
KillWait                = 30 sec
MaxArraySize            = 1001
SLURM_VERSION           = 23.11.4

Slurmctld(primary) at head is UP"""
GPU = "PartitionName=gpu AllowGroups=ml,cs Default=YES MaxTime=2-00:00:00 DefaultTime=01:00:00 State=UP PriorityTier=1 \
MaxNodes=4 MinNodes=0 GraceTime=120 OverSubscribe=EXCLUSIVE QoS=N/A JobDefaults=DefMemPerGPU=8000"
NODE = "NodeName=g1 CPUTot=64 RealMemory=512000 Gres=gpu:a100:4(S:0-1),gpu:v100:2,fs:ssd:1 AvailableFeatures=ib,nvlink \
NodeHostName=g1 OS=Linux 5.14 #1 SMP State=IDLE+DRAIN Partitions=gpu Reason=bad State=UP disk [root@2024]"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What `ask` makes of the answers of a scripted Slurm; an exception instead of one is raised."""

    def answers(**given: Any) -> ClusterInfo:
        said: Mapping[str, Any] = {"config": CONFIG.format(now=int(time.time())), "partition": "", "node": ""} | given

        def call(command: list[str], limit: float = 0) -> str:
            what = next((word for word in command if word in ("assoc", "qos")), command[-1])
            answer = said.get(what, "")
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        monkeypatch.setattr(client, "call", call)
        monkeypatch.setattr(cluster_info, "login_name", lambda: "me")
        return query()

    return answers


def test_a_cluster_is_read(answers: Answers) -> None:
    there = answers(
        partition=GPU,
        node=NODE,
        assoc="lab||normal,long|50||cpu=9,gres/gpu=8|gres/gpu=4,mem=2G|long",
        qos="long|7-00:00:00||normal|requeue|00:02:00|||gres/gpu:a100=2",
    )
    gpu = there.partitions["gpu"]
    assert (there.version, there.max_array_size, there.kill_wait, there.default_partition) == (
        "23.11.4",
        1001,
        30,
        "gpu",
    )
    assert (gpu.max_time, gpu.default_time, gpu.max_nodes, gpu.grace_time) == (172800, 3600, 4, 120)
    assert (gpu.whole_nodes, gpu.default_memory, gpu.allow_groups) == (True, ("gpu", 8000), {"ml", "cs"})
    node = there.nodes[0]
    assert (node.gpus, node.cpus, node.features) == ({"a100": 4, "v100": 2}, 64, {"ib", "nvlink"})
    assert not node.is_in_service  # the first State counts, not what somebody wrote as the reason
    assert replace(node, state="IDLE+CLOUD+POWERED_DOWN").is_in_service  # it is switched on for a job
    assert there.accounting
    [lab] = there.accounting.associations
    assert (lab.account, lab.qos, lab.max_jobs_submitted, lab.default_qos) == ("lab", {"normal", "long"}, 50, "long")
    assert lab.job_limits == {"cpu": 9, "gres/gpu": 4, "mem": 2048}
    long = there.accounting.qos["long"]
    assert long.job_limits == {"gres/gpu:a100": 2}
    assert (long.max_time, long.preempts, long.grace_time) == (7 * 86400, {"normal"}, 120)


def test_accounting_that_does_not_answer_is_no_cluster_without(answers: Answers) -> None:
    there = answers(assoc=UnreachableError("Slurm", "Connection refused"))
    assert (there.accounting, there.accounting_error) == (None, "Slurm: Connection refused")


def test_a_controller_that_does_not_answer_is_an_error(answers: Answers) -> None:
    with pytest.raises(UnreachableError, match="no answer"):
        answers(config=client.NoAnswerError("scontrol", "no answer within 20 s"))


@pytest.mark.parametrize(("shift", "seen"), [(0, 0), (600, 600), (-600, -600)])
def test_the_controllers_clock(answers: Answers, shift: int, seen: int) -> None:
    there = answers(config=CONFIG.format(now=int(time.time()) + shift))
    assert there.clock_ahead == pytest.approx(seen, abs=2)
    assert shift or there.clock_ahead == 0


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:8", {"": 8}),
        ("gpu:8(S:0-1)", {"": 8}),
        ("gpu:a100:8", {"a100": 8}),
        ("fs:gpu:3,gpu:1g.5gb:7", {"1g.5gb": 7}),
        ("gpu:a100:2(S:0),gpu:a100:2(S:1)", {"a100": 4}),
        ("gpu:tesla:no_consume:4", {"tesla": 4}),
        ("(null)", {}),
    ],
)
def test_gpus(answers: Answers, gres: str, gpus: dict[str, int]) -> None:
    assert answers(node=f"NodeName=n Gres={gres}").nodes[0].gpus == gpus


@given(st.text(max_size=300), st.text(max_size=300))
def test_nothing_that_slurm_prints_raises(text: str, more: str) -> None:
    for mangled in (text, f"NodeName={text}", f"NodeName=n Gres={text} State={more}", GPU.replace("2-00:00:00", text)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "call", lambda command, mangled=mangled: f"{CONFIG}\n{mangled}")
            there = query()
            assert there.max_array_size >= 0
            assert all(node.cpus >= 0 and node.memory >= 0 for node in there.nodes)


@given(st.integers(0, 400 * 86400))
def test_a_time_is_read_as_it_is_written(seconds: int) -> None:
    assert client.parse_time(format_time(seconds)) == seconds
    days, _, clock = format_time(seconds).rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    assert timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=rest).total_seconds() == seconds


def test_amounts_of_memory() -> None:
    assert [parse_megabytes(text) for text in ("500M", "64G", "1.5T", "2048K", "16000", "lots")] == [
        *(500, 65536, 1.5 * 1024**2, 2, 16000, UNLIMITED)
    ]
    assert cluster_info.UNLIMITED > 10**18
