"""The checks of resource requests against a cluster's partitions, accounts and QOS, made before anything is sent.

Slurm itself refuses little of this. By default it accepts a job that no node can run, or that is over a limit, and
lets it wait for ever.
"""

from __future__ import annotations

import grp
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from cebctl.diagnostics.findings import Finding
from cebctl.diagnostics.resource_requests import ResourceRequest, resource_requests
from cebctl.diagnostics.resource_warnings import request_warnings
from experiments.errors import expected
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import Stage
from jobs.slurm import client
from jobs.slurm.cluster_info import Association, ClusterInfo, Node, Partition, Qos, format_time

Complaint = tuple[str, str]
"""What a cluster does not have or allow, and what to do about it."""
_LIMITS = {"limits", "safe", "all"}
"""What accounting must enforce for its limits to hold."""
_UNITS = {
    "node": ("nodes", "nodes"),
    "cpu": ("cores", "nodes or cpus"),
    "mem": ("megabytes", "nodes or memory"),
    "gres/gpu": ("GPUs", "nodes or gpus_per_node"),
}
"""The unit of each limited resource, and the fields that request it."""
_FEATURE = re.compile(r"(!?)([A-Za-z][\w.-]*)")


def validate_requests(
    matrix: Matrix, site: ClusterInfo, stages: Iterable[tuple[PlannedRun, Stage]] | None = None
) -> list[Finding]:
    """Return as `wrong` what would keep stages of runs (by default all) from ever starting, and warnings as `note`."""
    requests = resource_requests(matrix, stages)
    jobs: Counter[Finding] = Counter()
    for request in requests:
        # A request may meet the same obstacle in several partitions: its jobs count once.
        jobs.update(dict.fromkeys(validate_request(request, site), request.jobs))
    return [
        *(replace(finding, text=f"{finding.text} ({n:,} job{'s' * (n > 1)})") for finding, n in jobs.items()),
        *_queue_limits(matrix, requests, site),
    ]


def validate_request(request: ResourceRequest, site: ClusterInfo) -> Iterator[Finding]:
    """Yield what keeps the jobs of a request from starting, and what would happen to them where they can."""
    yield from (request.finding("wrong", *complaint) for complaint in _account_complaints(request, site))
    if request.resources.reservation and request.resources.reservation not in site.reservations:
        text = f"there is no reservation {request.resources.reservation}"
        yield request.finding("wrong", text, request.suggest("reservation", sorted(site.reservations)))
    named = [site.partitions[name] for name in _partition_names(request, site) if name in site.partitions]
    complaints = _complaints_by_partition(request, named, site)
    rejections = list(_partition_rejections(request, site, complaints))
    complaints = complaints or _closest_partitions(request, site)
    accepting = [name for name, of_partition in complaints.items() if not of_partition]
    fix = "ask the administrators for access to a partition"
    if complaints:
        fix = request.suggest("partition", accepting or complaints)
    yield from (request.finding("wrong", text, fix) for text in rejections)
    if not accepting:  # of several partitions, Slurm takes any that accepts the job
        yield from (request.finding("wrong", *line) for of_partition in complaints.values() for line in of_partition)
    for name in accepting if not rejections else ():
        yield from request_warnings(request, site.partitions[name], site)


def _partition_rejections(request: ResourceRequest, site: ClusterInfo, suitable: Collection[str]) -> Iterator[str]:
    """Yield why the partitions that the request names can't be used: one does not exist, or none is suitable."""
    names = _partition_names(request, site)
    if not names:
        yield "no partition is named, and the cluster has no default one"
    for name in names:
        if name not in site.partitions:
            yield f"there is no partition {name}; {expected(site.partitions, name)}"
        elif not suitable:
            yield from _unsuitable_reasons(request, site.partitions[name], site)


def _closest_partitions(request: ResourceRequest, site: ClusterInfo) -> dict[str, list[Complaint]]:
    """Return the partitions that accept the request; where none does, the one with the fewest complaints, with these.

    Partitions that let the user in come before those that don't, however much they have.
    """
    complaints = _complaints_by_partition(request, site.partitions.values(), site)
    accepting = {name: of_partition for name, of_partition in complaints.items() if not of_partition}
    closed = {name for name in complaints if [*_access_complaints(request, site.partitions[name], site)]}
    return accepting or dict(sorted(complaints.items(), key=lambda item: (item[0] in closed, len(item[1])))[:1])


def _complaints_by_partition(
    request: ResourceRequest, partitions: Iterable[Partition], site: ClusterInfo
) -> dict[str, list[Complaint]]:
    """Return every limit that the request exceeds in each suitable partition."""
    suitable = [partition for partition in partitions if not _unsuitable_reasons(request, partition, site)]
    return {partition.name: list(_limit_complaints(request, partition, site)) for partition in suitable}


# Why a partition would never start the jobs of a request.


def _unsuitable_reasons(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> list[str]:
    """Return why a partition is not suitable, whatever amounts are requested."""
    name, nodes = f"partition {partition.name}", site.nodes_of(partition.name)
    reasons = [f"{name} is {partition.state}"] if partition.state != "UP" else []
    if not nodes:
        return [*reasons, f"{name} has no nodes"]
    is_open = all((partition.max_nodes, partition.max_cpus_per_node, partition.max_memory_per_node))
    if not is_open or partition.min_nodes > min(partition.max_nodes, len(nodes)):
        reasons.append(f"{name} takes no jobs: its limits leave them nothing")
    if request.resources.gpus_per_node and not any(node.gpus for node in nodes):
        reasons.append(f"{name} has no GPUs")
    return reasons


def _limit_complaints(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """Yield every limit of a suitable partition that the request exceeds."""
    resources, name = request.resources, f"partition {partition.name}"
    nodes = site.nodes_of(partition.name)
    yield from _time_complaints(request, partition, site)
    yield from _access_complaints(request, partition, site)
    yield from _job_total_complaints(request, partition, site)
    min_nodes, max_nodes = max(partition.min_nodes, 1), min(partition.max_nodes, len(nodes))
    if not min_nodes <= resources.nodes <= max_nodes:
        between = f"between {min_nodes:g} and {max_nodes:g}" if min_nodes < max_nodes else f"{max_nodes:g}"
        allowed = f"at most {max_nodes:g}" if min_nodes == 1 else between
        text = f"{name} gives a job {allowed} node{'s' * (max_nodes > 1)}, not {resources.nodes}"
        yield text, request.suggest("nodes", allowed)
    clamped = _clamped(request, partition, nodes)
    missing = [
        *_gpu_complaints(request, clamped, name, nodes),
        *_core_and_memory_complaints(request, clamped, partition, nodes),
        *_feature_complaints(request, name, nodes),
    ]
    yield from missing
    # Each amount may be in some node and yet not all of them together in as many nodes as the job needs.
    count = sum(clamped.can_run_on(node) for node in nodes)
    if count < min(resources.nodes, max_nodes):
        amount = "that much" if missing else "all of that"
        text = f"{name} has {count or 'no'} node{'s' * (count > 1)} with {amount} at once"
        yield f"{text}, and {resources.nodes} are asked for", f"ask for less in {request.source}"


def _gpu_complaints(
    request: ResourceRequest, clamped: ResourceRequest, name: str, nodes: Sequence[Node]
) -> Iterator[Complaint]:
    resources, max_gpus = request.resources, clamped.resources.gpus_per_node
    if not resources.gpus_per_node:
        return
    if resources.gpu_type != clamped.resources.gpu_type:
        gpu_types = sorted(set().union(*(node.gpus for node in nodes)))
        needed = min(resources.nodes, len(nodes))
        requests = {gpu_type: clamped.replace(gpu_type=gpu_type) for gpu_type in gpu_types if gpu_type}
        suitable = [name for name, typed in requests.items() if sum(map(typed.can_run_on, nodes)) >= needed]
        most = {gpu_type: max(node.gpus.get(gpu_type, 0) for node in nodes) for gpu_type in gpu_types}
        available = ", ".join(f"{gpu_type or 'GPUs without a type'} ({n} per node)" for gpu_type, n in most.items())
        text = f"{name} has no GPU of type {resources.gpu_type}; it has {available}"
        yield text, request.suggest("gpu_type", suitable)
    if resources.gpus_per_node > max_gpus:
        unit = clamped.resources.gpu_type or ("GPU" if max_gpus == 1 else "GPUs")
        text = f"{name} has at most {max_gpus} {unit} in a node, not {resources.gpus_per_node}"
        yield text, request.suggest("gpus_per_node", f"at most {max_gpus}")


def _core_and_memory_complaints(
    request: ResourceRequest, clamped: ResourceRequest, partition: Partition, nodes: Sequence[Node]
) -> Iterator[Complaint]:
    resources, name = request.resources, f"partition {partition.name}"
    cores, memory = _node_maxima(partition, nodes)
    gpus = clamped.resources.gpus_per_node
    if request.replace(gpus_per_node=gpus).cpus > cores:
        per_gpu = cores // gpus if resources.cpus is None and resources.cpus_per_gpu and gpus else 0
        field, most = ("cpus_per_gpu", per_gpu) if per_gpu else ("cpus", cores)
        text = f"{name} gives at most {cores:g} cores of a node, not {request.cpus}"
        yield text, request.suggest(field, f"at most {most:g}")
    if request.memory > memory:
        text = f"{name} gives at most {memory:.0f}M of memory in a node, not {resources.memory}"
        yield text, request.suggest("memory", f"at most {memory:.0f}M")


def _feature_complaints(request: ResourceRequest, name: str, nodes: Sequence[Node]) -> Iterator[Complaint]:
    """Yield the requested features that no node has. Of alternatives (`a|b`), one that exists is enough."""
    constraint = request.resources.constraint or ""
    available = sorted(set().union(*(node.features for node in nodes)))
    requested = [feature for negation, feature in _FEATURE.findall(constraint) if not negation]
    missing = [feature for feature in requested if feature not in available]
    if missing and (len(missing) == len(requested) or not re.search(r"[|\[]", constraint)):
        text = f"no node of {name} has the feature {' or '.join(missing)}; they have {', '.join(available) or 'none'}"
        yield text, request.suggest("constraint", available)


def _time_complaints(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    seconds = client.parse_time(request.resources.time or "")
    limits = [(f"partition {partition.name}", partition.max_time)]
    limits += [(name, limit.max_time) for name, limit in _job_limits(request, partition, site)]
    for name, max_time in limits if seconds else ():
        if seconds and seconds > max_time:
            allowed = format_time(max_time)
            text = f"{name} allows {allowed} at most, not {request.resources.time}"
            yield text, request.suggest("time", f"at most {allowed}; what is not done then goes on in another attempt")


def _job_total_complaints(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """Yield the limits of accounting on one job, all its nodes together."""
    if not site.enforced & _LIMITS:
        return
    for name, limit in _job_limits(request, partition, site):
        for resource, amount in request.job_totals.items():
            if amount > (most := limit.job_limits.get(resource, amount)):
                unit, field = _UNITS[resource.partition(":")[0]]
                of_type = f" of type {request.resources.gpu_type}" if ":" in resource else ""
                text = f"{name} limits the {unit}{of_type} of a job to {most:.0f}, and {amount:.0f} are asked for"
                yield text, f"lower {field} in {request.source}"


def _access_complaints(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """Yield why a partition does not let the user's jobs in."""
    resources, name = request.resources, f"partition {partition.name}"
    associations = _associations(request, site)
    accounts = {resources.account} if resources.account else {row.account for row in associations}
    if partition.allow_accounts is not None and site.accounting and not accounts & partition.allow_accounts:
        text = f"{name} takes only the accounts {', '.join(sorted(partition.allow_accounts))}"
        yield text, request.suggest("account", sorted(partition.allow_accounts))
    if accounts and accounts <= partition.deny_accounts:
        text = f"{name} does not take the account {', '.join(sorted(accounts))}"
        yield text, f"name another account in {request.source}"
    if partition.allow_qos is not None and resources.qos and resources.qos not in partition.allow_qos:
        text = f"{name} takes only the QOS {', '.join(sorted(partition.allow_qos))}"
        yield text, request.suggest("qos", sorted(partition.allow_qos))
    # Slurm lets root into every partition.
    if partition.allow_groups is not None and os.getuid() and not _group_names() & partition.allow_groups:
        text = f"{name} is for the groups {', '.join(sorted(partition.allow_groups))}"
        yield text, f"name another partition in {request.source}"


def _account_complaints(request: ResourceRequest, site: ClusterInfo) -> Iterator[Complaint]:
    """Yield the account and the QOS that the user may not use."""
    resources, accounting = request.resources, site.accounting
    if accounting is None or not site.enforced & {*_LIMITS, "qos", "associations"}:
        return
    if not accounting.associations:
        yield "Slurm's accounting does not know you", "ask the administrators for an account"
        return
    accounts = sorted({association.account for association in accounting.associations})
    if resources.account and resources.account not in accounts:
        text = f"account {resources.account} is not yours; {expected(accounts, resources.account)}"
        yield text, request.suggest("account", accounts)
    if resources.qos and site.enforced & {*_LIMITS, "qos"}:
        associations = _associations(request, site) or accounting.associations
        allowed = sorted(set().union(*(association.qos for association in associations)))
        if resources.qos not in allowed:
            text = f"QOS {resources.qos} is not yours; {expected(allowed, resources.qos)}"
            yield text, request.suggest("qos", allowed)


def _queue_limits(matrix: Matrix, requests: Sequence[ResourceRequest], site: ClusterInfo) -> Iterator[Finding]:
    """Yield a note where the jobs can't all be queued at once, with the narrowest limit."""
    limits = [(site.max_jobs, "the controller holds (MaxJobCount), others' included")]
    for request in requests if site.enforced & _LIMITS else ():
        names = [name for name in _partition_names(request, site) if name in site.partitions]
        qos = [row for name in names for row in _applicable_qos(request, site.partitions[name], site)]
        limits += [(row.max_jobs_submitted, f"QOS {row.name} lets you queue") for row in qos]
        limits += [(a.max_jobs_submitted, f"account {a.account} lets you queue") for a in _associations(request, site)]
    jobs = sum(request.jobs for request in requests)
    most, limit = min(limits)
    if jobs > most:
        text = f"{matrix.path}: {jobs:,} jobs are more than the {most:,.0f} that {limit}"
        todo = f"submit {matrix.path} in parts with --only, or call `cebctl submit` again as jobs end"
        yield Finding("cluster", "note", text, todo)


# The parts of a cluster that concern a request.


def _partition_names(request: ResourceRequest, site: ClusterInfo) -> list[str]:
    """Return the partitions that are requested, whether they exist or not."""
    return [name for name in (request.resources.partition or site.default_partition or "").split(",") if name]


def _associations(request: ResourceRequest, site: ClusterInfo) -> list[Association]:
    """Return the user's associations that the jobs could run under."""
    associations = site.accounting.associations if site.accounting else ()
    return [row for row in associations if request.resources.account in (None, row.account)]


def _job_limits(
    request: ResourceRequest, partition: Partition, site: ClusterInfo
) -> list[tuple[str, Qos | Association]]:
    """Return what limits each job of the request, by name."""
    limits: list[tuple[str, Qos | Association]] = [
        (f"QOS {qos.name}", qos) for qos in _applicable_qos(request, partition, site)
    ]
    return limits + [(f"account {row.account}", row) for row in _associations(request, site)[:1]]


def _applicable_qos(request: ResourceRequest, partition: Partition, site: ClusterInfo) -> list[Qos]:
    """Return the QOS of the job and that of the partition."""
    qos = site.accounting.qos if site.accounting else {}
    default = next((row.default_qos for row in _associations(request, site)), "") or "normal"
    return [qos[name] for name in dict.fromkeys((request.resources.qos or default, partition.qos)) if name in qos]


def _clamped(request: ResourceRequest, partition: Partition, nodes: Sequence[Node]) -> ResourceRequest:
    """Return the request with no more of anything than a node has, and without a GPU type that no node has."""
    resources, (cores, memory) = request.resources, _node_maxima(partition, nodes)
    typed = request if any(map(request.matching_gpus, nodes)) else request.replace(gpu_type=None)
    gpus = min(resources.gpus_per_node, max(map(typed.matching_gpus, nodes)))
    fewer = typed.replace(gpus_per_node=gpus)
    max_memory = f"{int(memory)}M" if request.memory > memory else resources.memory
    return fewer.replace(cpus=min(fewer.cpus, int(cores)), memory=max_memory)


def _node_maxima(partition: Partition, nodes: Sequence[Node]) -> tuple[float, float]:
    """Return the most cores and megabytes of memory that a partition gives of one of its nodes."""
    cores, memory = max(node.cpus for node in nodes), max(node.memory for node in nodes)
    return min(cores, partition.max_cpus_per_node), min(memory, partition.max_memory_per_node)


def _group_names() -> set[str]:
    """Return the names of the user's groups, looked up singly: many sites don't let all groups be listed."""
    names = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    return names
