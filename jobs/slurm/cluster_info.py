"""Partitions, nodes and limits of a Slurm cluster, as its controller and its accounting report them.

A handful of calls, each with a time limit. Sites and versions of Slurm differ: an absent or unreadable value counts as
"no limit" or "none", and no output of Slurm raises.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from experiments.errors import UnreachableError
from jobs.file_ownership import login_name
from jobs.slurm import client

UNLIMITED = math.inf
_PAIR = re.compile(r"(?:^|(?<=\s))([A-Za-z][\w/:]*)=")
_GPUS = re.compile(r"(?:^|,)gpu(?::(?!\d+(?:\(|,|$))([^:,()]+))?(?::no_consume)?:(\d+)")
_UNITS = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
_OUT_OF_SERVICE = frozenset(
    ("DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "UNKNOWN", "NOT_RESPONDING", "MAINT", "FUTURE")
)


@dataclass(frozen=True)
class Node:
    """One machine."""

    name: str
    host: str
    """Its own host name."""
    state: str
    """As in `IDLE+DRAIN`."""
    cpus: int
    memory: float
    """Megabytes."""
    gpus: Mapping[str, int]
    """How many of each type; a type that the site does not name is ''."""
    features: frozenset[str]
    partitions: tuple[str, ...]

    @property
    def is_in_service(self) -> bool:
        """Whether it accepts jobs, now or after its current ones."""
        return not self.state.endswith("*") and _OUT_OF_SERVICE.isdisjoint(re.findall(r"\w+", self.state))


@dataclass(frozen=True)
class Partition:
    """One queue, and the limits of its jobs."""

    name: str
    state: str
    default: bool
    max_time: float
    """Seconds."""
    default_time: float
    """Seconds for a job that requests no time."""
    max_nodes: float
    min_nodes: float
    max_cpus_per_node: float
    max_memory_per_node: float
    """Megabytes."""
    default_memory: tuple[str, float] | None
    """Megabytes per `cpu`, `gpu` or `node` for a job that requests no memory; None: all of the node's."""
    allow_accounts: frozenset[str] | None
    """None: every one."""
    deny_accounts: frozenset[str]
    allow_qos: frozenset[str] | None
    allow_groups: frozenset[str] | None
    priority_tier: float
    preempt_mode: str
    grace_time: float
    """Seconds between a preemption's signal and its end."""
    whole_nodes: bool
    """Whether a job gets whole nodes, whatever it requests."""
    qos: str
    """The QOS whose limits apply to all jobs in it; empty: none."""


@dataclass(frozen=True)
class Qos:
    """A quality of service: its limits, and the ones that it may preempt."""

    name: str
    max_time: float = UNLIMITED
    max_jobs_submitted: float = UNLIMITED
    """Per user, waiting and running."""
    job_limits: Mapping[str, float] = field(default_factory=dict)
    """Limits of one job by Slurm's names (`node`, `cpu`, `mem` in megabytes, `gres/gpu`, `gres/gpu:a100`): the least of
    the limits per job, per user and in total."""
    preempts: frozenset[str] = frozenset()
    preempt_mode: str = "cluster"
    grace_time: float = 0.0


@dataclass(frozen=True)
class Association:
    """This user in one account, perhaps in one partition only."""

    account: str
    partition: str
    """Empty: in every one."""
    qos: frozenset[str]
    max_jobs_submitted: float = UNLIMITED
    max_time: float = UNLIMITED
    job_limits: Mapping[str, float] = field(default_factory=dict)
    """As of a QOS."""
    default_qos: str = ""
    """Of jobs that name none; empty: `normal`, the cluster's."""


@dataclass(frozen=True)
class Accounting:
    """The associations of this user and every QOS, from slurmdbd."""

    associations: tuple[Association, ...]
    qos: Mapping[str, Qos]


@dataclass(frozen=True)
class ClusterInfo:
    """A cluster, as one user sees it."""

    config: Mapping[str, str]
    partitions: Mapping[str, Partition]
    nodes: tuple[Node, ...]
    reservations: frozenset[str]
    accounting: Accounting | None
    """None: the cluster has none, or slurmdbd did not answer (`accounting_error`)."""
    accounting_error: str = ""
    answered_in: float = 0.0
    """Seconds that the controller took for the first answer."""
    clock_ahead: float = 0.0
    """Seconds by which the controller's clock is ahead of this machine's."""

    @property
    def default_partition(self) -> str | None:
        return next((partition.name for partition in self.partitions.values() if partition.default), None)

    @property
    def version(self) -> str:
        return self.config.get("SLURM_VERSION", "of unknown version")

    @property
    def max_array_size(self) -> int:
        """One more than the largest index of an array."""
        return int(_number(self.config.get("MaxArraySize"), 1001))

    @property
    def max_jobs(self) -> float:
        """The number of jobs, array tasks included, that the controller holds for all users."""
        return _number(self.config.get("MaxJobCount"), 10_000)

    @property
    def enforced(self) -> frozenset[str]:
        """The rules that accounting enforces: associations, limits, qos, …"""
        return frozenset(self.config.get("AccountingStorageEnforce", "").lower().split(",")) - {"none", ""}

    @property
    def kill_wait(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        return _number(self.config.get("KillWait"), 30)

    @property
    def min_job_age(self) -> float:
        """Seconds after which the controller forgets a job that has ended."""
        return _number(self.config.get("MinJobAge"), 300)

    def nodes_of(self, partition: str) -> list[Node]:
        return [node for node in self.nodes if partition in node.partitions]


def query() -> ClusterInfo:
    """Return the cluster that this machine's Slurm commands talk to.

    Raises UnreachableError if they are not installed or the controller does not answer.
    """
    before = time.time()
    text = client.call(["scontrol", "show", "config"])
    after = time.time()
    settings = (re.match(r"(\w+)\s*= (.*)", line) for line in text.splitlines())
    config = {match[1]: match[2].strip() for match in settings if match}
    of_time = re.match(r"Configuration data as of (\d+)", text)
    partitions = [_partition(record, config) for record in _records(["scontrol", "-a", "-o", "show", "partition"])]
    nodes = [_node(record) for record in _records(["scontrol", "-a", "-o", "show", "node"]) if "NodeName" in record]
    reserved = [record.get("ReservationName", "") for record in _records(["scontrol", "-o", "show", "reservation"])]
    accounting, error = None, ""
    if config.get("AccountingStorageType", "").endswith("slurmdbd"):
        try:
            accounting = _accounting(login_name())
        except UnreachableError as unreachable:
            error = str(unreachable)
    return ClusterInfo(
        config=config,
        partitions={partition.name: partition for partition in partitions if partition.name},
        nodes=tuple(nodes),
        reservations=frozenset(filter(None, reserved)),
        accounting=accounting,
        accounting_error=error,
        answered_in=after - before,
        clock_ahead=_ahead(int(of_time[1]), before, after) if of_time else 0.0,
    )


def _ahead(shown: int, before: float, after: float) -> float:
    """Return the certain lead of a clock that showed whole seconds at some time between two readings of ours."""
    return shown - after if shown > after else min(shown + 1 - before, 0.0)


def parse_megabytes(text: str) -> float:
    """Return an amount of memory such as `64G` or `500M` in megabytes; a bare number is in megabytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", text.strip().upper())
    return float(match[1]) * _UNITS[match[2]] if match else UNLIMITED


def format_time(seconds: float) -> str:
    """Return a time as Slurm and matrices write it: `2-12:00:00`."""
    days, in_day = divmod(int(seconds), 86_400)
    text = f"{in_day // 3600:02}:{in_day % 3600 // 60:02}:{in_day % 60:02}"
    return f"{days}-{text}" if days else text


def _accounting(user: str) -> Accounting:
    fields = "account,partition,qos,maxsubmitjobs,maxwall,maxtres,grptres,defaultqos"
    associations = [
        Association(account, partition, _names(qos) or frozenset(), _number(jobs), _seconds(wall), _least(*limits), own)
        for account, partition, qos, jobs, wall, *limits, own in _rows("assoc", fields, f"user={user}")
    ]
    fields = "name,maxwall,maxsubmitjobsperuser,preempt,preemptmode,gracetime,maxtres,maxtrespu,grptres"
    qos = [
        Qos(name, _seconds(wall), _number(jobs), _least(*limits), _names(preempts) or frozenset(), mode, _grace(grace))
        for name, wall, jobs, preempts, mode, grace, *limits in _rows("qos", fields)
    ]
    return Accounting(tuple(associations), {service.name: service for service in qos})


def _least(*limits: str) -> dict[str, float]:
    """Return the least limit of each name, from texts such as `cpu=16,gres/gpu=4,mem=64G`."""
    least: dict[str, float] = {}
    for name, _, amount in (limit.partition("=") for limit in ",".join(limits).split(",") if limit):
        most = parse_megabytes(amount) if name == "mem" else _number(amount)
        least[name] = min(most, least.get(name, UNLIMITED))
    return least


def _rows(entity: str, fields: str, *conditions: str) -> Iterator[list[str]]:
    """Yield the rows of sacctmgr; a row of another number of fields, as by a `|` in a name, is left out."""
    for line in client.call(["sacctmgr", "-nP", "show", entity, *conditions, f"format={fields}"]).splitlines():
        values = line.split("|")
        if len(values) == fields.count(",") + 1:
            yield values


def _records(command: list[str]) -> list[dict[str, str]]:
    return [_pairs(line) for line in client.call(command).splitlines() if "=" in line]


def _pairs(line: str) -> dict[str, str]:
    """Parse `Key=Value Key=Value …`; values may contain blanks, and the first of two equal keys counts."""
    pairs: dict[str, str] = {}
    marks = list(_PAIR.finditer(line))
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    for mark, end in zip(marks, ends, strict=False):
        pairs.setdefault(mark[1], line[mark.end() : end].strip())
    return pairs


def _node(record: Mapping[str, str]) -> Node:
    gpus: dict[str, int] = {}
    for kind, count in _GPUS.findall(record.get("Gres", "")):
        gpus[kind] = gpus.get(kind, 0) + int(count)
    return Node(
        name=record["NodeName"],
        host=record.get("NodeHostName", record["NodeName"]),
        state=record.get("State", "UNKNOWN").split()[0] if record.get("State") else "UNKNOWN",
        cpus=int(_number(record.get("CPUEfctv") or record.get("CPUTot"), 0)),
        memory=_number(record.get("RealMemory"), 0),
        gpus=gpus,
        features=_names(record.get("AvailableFeatures")) or frozenset(),
        partitions=tuple(filter(None, record.get("Partitions", "").split(","))),
    )


def _partition(record: Mapping[str, str], config: Mapping[str, str]) -> Partition:
    limit = _seconds(record.get("MaxTime"))
    most = _number(record.get("MaxMemPerNode"))
    return Partition(
        name=record.get("PartitionName", ""),
        state=record.get("State", "UNKNOWN"),
        default=record.get("Default") == "YES",
        max_time=limit,
        default_time=min(_seconds(record.get("DefaultTime")), limit),
        max_nodes=_number(record.get("MaxNodes")),
        min_nodes=_number(record.get("MinNodes"), 0),
        max_cpus_per_node=_number(record.get("MaxCPUsPerNode")),
        max_memory_per_node=most if most < UNLIMITED else _number(config.get("MaxMemPerNode")),
        default_memory=_default_memory(record) or _default_memory(config),
        allow_accounts=_names(record.get("AllowAccounts")),
        deny_accounts=_names(record.get("DenyAccounts")) or frozenset(),
        allow_qos=_names(record.get("AllowQos")),
        allow_groups=_names(record.get("AllowGroups")),
        priority_tier=_number(record.get("PriorityTier"), 1),
        preempt_mode=record.get("PreemptMode", "OFF"),
        grace_time=_grace(record.get("GraceTime")),
        whole_nodes=record.get("OverSubscribe", "NO").startswith("EXCLUSIVE"),
        qos=record.get("QoS", "").replace("N/A", ""),
    )


def _default_memory(record: Mapping[str, str]) -> tuple[str, float] | None:
    """Return the unit and the megabytes; JobDefaults holds those per GPU: `DefMemPerGPU=8000`."""
    per_gpu = re.search(r"DefMemPerGPU=(\d+)", record.get("JobDefaults", ""))
    if per_gpu:
        return "gpu", float(per_gpu[1])
    for unit, key in (("cpu", "DefMemPerCPU"), ("node", "DefMemPerNode")):
        amount = _number(record.get(key))
        if 0 < amount < UNLIMITED:
            return unit, amount
    return None


def _names(text: str | None) -> frozenset[str] | None:
    """Return a list of names; None for all, for none named and for an unreadable text."""
    if text is None or text.strip() in ("", "ALL", "(null)", "N/A"):
        return None
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _number(text: str | None, otherwise: float = UNLIMITED) -> float:
    """Return the number that a text begins with, as in `300 sec`."""
    match = re.match(r"\s*(\d+)", text or "")
    return float(match[1]) if match else otherwise


def _seconds(text: str | None) -> float:
    """Return a time such as `1-00:00:00` in seconds; UNLIMITED for a text that is no time."""
    seconds = client.parse_time((text or "").strip())
    return UNLIMITED if seconds is None else float(seconds)


def _grace(text: str | None) -> float:
    """Return a grace time in seconds: partitions have it in seconds, a QOS as a time."""
    return _seconds(text) if ":" in (text or "") else _number(text, 0.0)
