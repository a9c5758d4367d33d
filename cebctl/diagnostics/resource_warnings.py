"""What is worth knowing before jobs are sent to a cluster that would run them."""

from __future__ import annotations

from collections.abc import Iterator

from cebctl.diagnostics.findings import Finding
from cebctl.diagnostics.resource_requests import Asked
from jobs.slurm.cluster_info import UNLIMITED, ClusterInfo, Partition, format_time

LITTLE_MEMORY = 4000.0
"""Megabytes: a default amount below it is worth a word, as torch takes one or two of these thousands by itself."""
CHECKPOINT_SECONDS = 30.0
"""How long the largest network's checkpoint may take: 2 GB at 70 MB/s."""


def cautions(one: Asked, partition: Partition, site: ClusterInfo) -> Iterator[Finding]:
    """What a partition that takes these jobs will do to them, unasked."""
    wanted, name = one.resources, f"partition {partition.name}"
    able = [node for node in site.nodes_of(partition.name) if one.fits(node)]
    free = sum(node.is_in_service for node in able)
    if free < wanted.nodes:
        yield one.finding(
            "note", f"{free} of the {len(able)} nodes of {name} that could run it are in service: it waits"
        )
    if wanted.time is None and partition.default_time < UNLIMITED:
        text = f"it names no time: {name} ends each attempt after {format_time(partition.default_time)}"
        yield one.finding("note", text, one.put("time", f"at most {format_time(partition.max_time)}"))
    if wanted.memory is None:
        yield from _default_memory(one, partition, max((node.memory for node in able), default=0.0))
    gpus = max((one.gpus_of(node) for node in able), default=0)
    if partition.whole_nodes and gpus > wanted.gpus_per_node:
        yield one.finding("note", f"{name} gives whole nodes only: of {gpus} GPUs a job uses {wanted.gpus_per_node}")
    if words := preemption(wanted.qos, partition, site):
        yield one.finding("note", *words)


def _default_memory(one: Asked, partition: Partition, of_node: float) -> Iterator[Finding]:
    name = f"partition {partition.name}"
    if partition.default_memory is None:
        text = f"it names no memory: {name} gives a job all {of_node:.0f}M of a node, so that no two share one"
        yield one.finding("note", text, one.put("memory", "what a job needs"))
        return
    unit, amount = partition.default_memory
    given = amount * {"cpu": one.cpus, "gpu": one.resources.gpus_per_node, "node": 1}[unit]
    if given < LITTLE_MEMORY:
        text = f"it names no memory: {name} gives a job {given:.0f}M, which is little for torch"
        yield one.finding("note", text, one.put("memory", "what a job needs, at least 4G"))


def preemption(qos: str | None, partition: Partition, site: ClusterInfo) -> tuple[str, str] | None:
    """What preemption costs jobs of a partition, and what to do about it; None if it costs nothing."""
    what, mode, grace = _way_out(qos or "", partition, site)
    if "CANCEL" in mode:
        text = f"jobs of {what} are cancelled for others (PreemptMode=CANCEL): they go on by the next `cebctl submit`"
        return text, f"ask the administrators for PreemptMode=REQUEUE on {what}"
    if "SUSPEND" in mode:
        return f"jobs of {what} are suspended for others, and count as running meanwhile", ""
    if "REQUEUE" not in mode or grace >= CHECKPOINT_SECONDS:
        return None
    return (
        f"jobs of {what} give way to others with GraceTime {grace:g} s, then KillWait {site.kill_wait:g} s: too short "
        "for a large network's checkpoint, so that up to a minute of its work is done twice",
        f"ask the administrators for GraceTime={2 * CHECKPOINT_SECONDS:g} on {what}, or do without",
    )


def _way_out(qos: str, partition: Partition, site: ClusterInfo) -> tuple[str, str, float]:
    """By what a job can be preempted, how, and with how many seconds of grace; OFF where it can't be."""
    kind, mode = site.config.get("PreemptType", ""), partition.preempt_mode.upper()
    never = ("", "OFF", 0.0)
    if kind.endswith("partition_prio"):
        here = {node.name for node in site.nodes_of(partition.name)}
        above = [other for other in site.partitions.values() if other.priority_tier > partition.priority_tier]
        shared = any(here & {node.name for node in site.nodes_of(other.name)} for other in above)
        return (f"partition {partition.name}", mode, partition.grace_time) if shared else never
    known = site.accounting.qos if site.accounting else {}
    if kind.endswith("qos") and mode != "OFF" and any(qos in other.preempts for other in known.values()):
        own = known[qos].preempt_mode.upper() if qos in known else "CLUSTER"
        grace = max(partition.grace_time, known[qos].grace_time if qos in known else 0.0)
        return f"QOS {qos}", mode if own == "CLUSTER" else own, grace
    return never
