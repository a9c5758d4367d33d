"""Warnings about jobs that a cluster would run: what its partitions do to them unasked."""

from __future__ import annotations

from collections.abc import Iterator

from cebctl.diagnostics.findings import Finding
from cebctl.diagnostics.resource_requests import ResourceRequest
from jobs.slurm.cluster_info import UNLIMITED, ClusterInfo, Partition, format_time

LOW_MEMORY_MEGABYTES = 4000.0
"""A smaller default deserves a warning, because torch alone takes one or two thousand megabytes."""
CHECKPOINT_SECONDS = 30.0
"""The time that the largest network's checkpoint may take: 2 GB at 70 MB/s."""


def request_warnings(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> Iterator[Finding]:
    """Yield a note for each surprise that a partition which accepts the request has for its jobs."""
    resources, name = request.resources, f"partition {partition.name}"
    nodes = [node for node in site.nodes_of(partition.name) if request.can_run_on(node)]
    in_service = sum(node.is_in_service for node in nodes)
    if in_service < resources.nodes:
        text = f"{in_service} of the {len(nodes)} nodes of {name} that could run it are in service: it waits"
        yield request.finding("note", text)
    if resources.time is None and partition.default_time < UNLIMITED:
        text = f"it names no time: {name} ends each attempt after {format_time(partition.default_time)}"
        yield request.finding("note", text, request.suggest("time", f"at most {format_time(partition.max_time)}"))
    if resources.memory is None:
        yield from _default_memory(request, partition, max((node.memory for node in nodes), default=0.0))
    gpus = max(map(request.matching_gpus, nodes), default=0)
    if partition.whole_nodes and gpus > resources.gpus_per_node:
        text = f"{name} gives whole nodes only: of {gpus} GPUs a job uses {resources.gpus_per_node}"
        yield request.finding("note", text)
    if warning := preemption_warning(resources.qos, partition, site):
        yield request.finding("note", *warning)


def _default_memory(request: ResourceRequest, partition: Partition, node_memory: float) -> Iterator[Finding]:
    name = f"partition {partition.name}"
    if partition.default_memory is None:
        text = f"it names no memory: {name} gives a job all {node_memory:.0f}M of a node, so that no two share one"
        yield request.finding("note", text, request.suggest("memory", "what a job needs"))
        return
    unit, amount = partition.default_memory
    memory = amount * {"cpu": request.cpus, "gpu": request.resources.gpus_per_node, "node": 1}[unit]
    if memory < LOW_MEMORY_MEGABYTES:
        text = f"it names no memory: {name} gives a job {memory:.0f}M, which is little for torch"
        yield request.finding("note", text, request.suggest("memory", "what a job needs, at least 4G"))


def preemption_warning(qos: str | None, partition: Partition, site: ClusterInfo) -> tuple[str, str] | None:
    """Return what preemption costs the jobs of a partition, and what to do about it; None if it costs nothing."""
    name, mode, grace = _preemption_policy(qos or "", partition, site)
    if "CANCEL" in mode:
        text = f"jobs of {name} are cancelled for others (PreemptMode=CANCEL): they go on by the next `cebctl submit`"
        return text, f"ask the administrators for PreemptMode=REQUEUE on {name}"
    if "SUSPEND" in mode:
        return f"jobs of {name} are suspended for others, and count as running meanwhile", ""
    if "REQUEUE" not in mode or grace >= CHECKPOINT_SECONDS:
        return None
    return (
        f"jobs of {name} give way to others with GraceTime {grace:g} s, then KillWait {site.kill_wait:g} s: too short "
        "for a large network's checkpoint, so that up to a minute of its work is done twice",
        f"ask the administrators for GraceTime={2 * CHECKPOINT_SECONDS:g} on {name}, or do without",
    )


def _preemption_policy(qos: str, partition: Partition, site: ClusterInfo) -> tuple[str, str, float]:
    """Return what a job can be preempted by, the mode, and the seconds of grace; the mode OFF where it can't be."""
    preempt_type, mode = site.config.get("PreemptType", ""), partition.preempt_mode.upper()
    never = ("", "OFF", 0.0)
    if preempt_type.endswith("partition_prio"):
        # Only a partition of a higher tier that has nodes in common can take them away.
        nodes = {node.name for node in site.nodes_of(partition.name)}
        higher = [other for other in site.partitions.values() if other.priority_tier > partition.priority_tier]
        shared = any(nodes & {node.name for node in site.nodes_of(other.name)} for other in higher)
        return (f"partition {partition.name}", mode, partition.grace_time) if shared else never
    all_qos = site.accounting.qos if site.accounting else {}
    if preempt_type.endswith("qos") and mode != "OFF" and any(qos in other.preempts for other in all_qos.values()):
        own_mode = all_qos[qos].preempt_mode.upper() if qos in all_qos else "CLUSTER"
        grace = max(partition.grace_time, all_qos[qos].grace_time if qos in all_qos else 0.0)
        return f"QOS {qos}", mode if own_mode == "CLUSTER" else own_mode, grace
    return never
