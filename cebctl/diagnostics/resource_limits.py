"""What keeps the jobs of a matrix from running on a cluster, found before anything is sent.

Slurm itself refuses little of it: by default it accepts what no node has, or what is over a limit, and lets it wait
for ever.
"""

from __future__ import annotations

import grp
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from cebctl.diagnostics.findings import Finding
from cebctl.diagnostics.resource_requests import Asked, asked
from cebctl.diagnostics.resource_warnings import cautions
from experiments.errors import expected
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import Stage
from jobs.slurm import client
from jobs.slurm.cluster_info import Association, ClusterInfo, Node, Partition, Qos, format_time, parse_megabytes

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
"""Of what is limited: how it is counted, and the fields that ask for it."""
_FEATURE = re.compile(r"(!?)([A-Za-z][\w.-]*)")


def obstacles(
    matrix: Matrix, site: ClusterInfo, stages: Iterable[tuple[PlannedRun, Stage]] | None = None
) -> list[Finding]:
    """What would keep stages of a matrix's runs (all, if none are given) from ever starting, as `wrong`; what else
    is worth knowing, as a `note`."""
    wanted = asked(matrix, stages)
    found: Counter[Finding] = Counter()
    for one in wanted:
        found.update(dict.fromkeys(held_against(one, site), one.jobs))
    return [
        *(replace(one, text=f"{one.text} ({jobs:,} job{'s' * (jobs > 1)})") for one, jobs in found.items()),
        *_numbers(matrix, wanted, site),
    ]


def held_against(one: Asked, site: ClusterInfo) -> Iterator[Finding]:
    """What a site holds against some jobs."""
    yield from (one.finding("wrong", *complaint) for complaint in _account(one, site))
    if one.resources.reservation and one.resources.reservation not in site.reservations:
        text = f"there is no reservation {one.resources.reservation}"
        yield one.finding("wrong", text, one.put("reservation", sorted(site.reservations)))
    found = _by_partition(one, _partitions(one, site), site)
    misnamed = list(_misnamed(one, site, found))
    found = found or _nearest(one, site)
    able = [name for name, complaints in found.items() if not complaints]
    otherwise = one.put("partition", able or found) if found else "ask the administrators for access to a partition"
    yield from (one.finding("wrong", text, otherwise) for text in misnamed)
    if not able:  # of several partitions, Slurm takes any that does
        yield from (one.finding("wrong", *complaint) for complaints in found.values() for complaint in complaints)
    for name in able if not misnamed else ():
        yield from cautions(one, site.partitions[name], site)


def _misnamed(one: Asked, site: ClusterInfo, fit: Collection[str]) -> Iterator[str]:
    """Why the partitions that are named can't be those: one is unknown, or none of them fits."""
    named = _named(one, site)
    if not named:
        yield "no partition is named, and the cluster has no default one"
    for name in named:
        if name not in site.partitions:
            yield f"there is no partition {name}; {expected(site.partitions, name)}"
        elif not fit:
            yield from _unfit(one, site.partitions[name], site)


def _nearest(one: Asked, site: ClusterInfo) -> dict[str, list[Complaint]]:
    """The partitions that would take these jobs; if none does, the one that holds the least against them, and what: of
    those that let them in, if any does."""
    every = _by_partition(one, site.partitions.values(), site)
    able = {name: complaints for name, complaints in every.items() if not complaints}
    closed = {name for name in every if [*_entry(one, site.partitions[name], site)]}
    return able or dict(sorted(every.items(), key=lambda item: (item[0] in closed, len(item[1])))[:1])


def _by_partition(one: Asked, partitions: Iterable[Partition], site: ClusterInfo) -> dict[str, list[Complaint]]:
    """By partition, of those that are fit for these jobs: every limit that they exceed."""
    return {part.name: list(_complaints(one, part, site)) for part in partitions if not _unfit(one, part, site)}


# Why a partition would never start these jobs.


def _unfit(one: Asked, partition: Partition, site: ClusterInfo) -> list[str]:
    """Why a partition is not fit for these jobs, whatever the amounts they ask for."""
    name, nodes = f"partition {partition.name}", site.nodes_of(partition.name)
    gpus = not one.resources.gpus_per_node or any(node.gpus for node in nodes)
    nothing = not all((partition.max_nodes, partition.max_cpus_per_node, partition.max_memory_per_node))
    found = [f"{name} is {partition.state}"] if partition.state != "UP" else []
    if not nodes:
        return [*found, f"{name} has no nodes"]
    if nothing or partition.min_nodes > min(partition.max_nodes, len(nodes)):
        found.append(f"{name} takes no jobs: its limits leave them nothing")
    return found if gpus else [*found, f"{name} has no GPUs"]


def _complaints(one: Asked, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """Every limit of a fit partition that is exceeded."""
    wanted, name = one.resources, f"partition {partition.name}"
    nodes = site.nodes_of(partition.name)
    yield from _time(one, partition, site)
    yield from _entry(one, partition, site)
    yield from _of_a_job(one, partition, site)
    least, most = max(partition.min_nodes, 1), min(partition.max_nodes, len(nodes))
    if not least <= wanted.nodes <= most:
        between = f"between {least:g} and {most:g}" if least < most else f"{most:g}"
        allowed = f"at most {most:g}" if least == 1 else between
        yield f"{name} gives a job {allowed} node{'s' * (most > 1)}, not {wanted.nodes}", one.put("nodes", allowed)
    less = _within(one, partition, nodes)
    lacking = [
        *_gpus(one, less, name, nodes), *_cores_and_memory(one, less, partition, nodes), *_features(one, name, nodes),
    ]  # fmt: skip
    yield from lacking
    fitting = _fitting(less, nodes)
    if fitting < min(wanted.nodes, most):
        many = f"{fitting or 'no'} node{'s' * (fitting > 1)}"
        what = "that much" if lacking else "all of that"
        yield f"{name} has {many} with {what} at once, and {wanted.nodes} are asked for", f"ask for less in {one.where}"


def _gpus(one: Asked, less: Asked, name: str, nodes: Sequence[Node]) -> Iterator[Complaint]:
    wanted, kinds, most = one.resources, _kinds(nodes), less.resources.gpus_per_node
    if not wanted.gpus_per_node:
        return
    if wanted.gpu_type != less.resources.gpu_type:
        needed = min(wanted.nodes, len(nodes))
        enough = [kind for kind in sorted(kinds) if kind and _fitting(less.but(gpu_type=kind), nodes) >= needed]
        text = f"{name} has no GPU of type {wanted.gpu_type}; it has {_listed(kinds)}"
        yield text, one.put("gpu_type", enough)
    if wanted.gpus_per_node > most:
        kind = less.resources.gpu_type or ("GPU" if most == 1 else "GPUs")
        text = f"{name} has at most {most} {kind} in a node, not {wanted.gpus_per_node}"
        yield text, one.put("gpus_per_node", f"at most {most}")


def _cores_and_memory(one: Asked, less: Asked, partition: Partition, nodes: Sequence[Node]) -> Iterator[Complaint]:
    wanted, name = one.resources, f"partition {partition.name}"
    cores, memory = _of_a_node(partition, nodes)
    gpus = less.resources.gpus_per_node
    if one.but(gpus_per_node=gpus).cpus > cores:
        per_gpu = cores // gpus if wanted.cpus is None and wanted.cpus_per_gpu and gpus else 0
        todo = one.put("cpus_per_gpu", f"at most {per_gpu:g}") if per_gpu else one.put("cpus", f"at most {cores:g}")
        yield f"{name} gives at most {cores:g} cores of a node, not {one.cpus}", todo
    if wanted.memory and parse_megabytes(wanted.memory) > memory:
        text = f"{name} gives at most {memory:.0f}M of memory in a node, not {wanted.memory}"
        yield text, one.put("memory", f"at most {memory:.0f}M")


def _features(one: Asked, name: str, nodes: Sequence[Node]) -> Iterator[Complaint]:
    """Only what no node has is certain: of alternatives, one that exists is enough."""
    constraint = one.resources.constraint or ""
    there = set().union(*(node.features for node in nodes))
    asked_for = [feature for without, feature in _FEATURE.findall(constraint) if not without]
    missing = [feature for feature in asked_for if feature not in there]
    if missing and (len(missing) == len(asked_for) or not re.search(r"[|\[]", constraint)):
        known = ", ".join(sorted(there)) or "none"
        yield (
            f"no node of {name} has the feature {' or '.join(missing)}; they have {known}",
            one.put("constraint", sorted(there)),
        )


def _time(one: Asked, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    seconds = client.parse_time(one.resources.time or "")
    limits = [(f"partition {partition.name}", partition.max_time)]
    limits += [(who, limiting.max_time) for who, limiting in _limiting(one, partition, site)]
    for what, most in limits if seconds else ():
        if seconds and seconds > most:
            text = f"{what} allows {format_time(most)} at most, not {one.resources.time}"
            yield (
                text,
                one.put("time", f"at most {format_time(most)}; what is not done then goes on in another attempt"),
            )


def _of_a_job(one: Asked, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """What accounting lets one job have, its nodes together."""
    if not site.enforced & _LIMITS:
        return
    for who, limiting in _limiting(one, partition, site):
        for name, wanted in one.of_a_job.items():
            if wanted > (most := limiting.job_limits.get(name, wanted)):
                unit, field = _UNITS[name.partition(":")[0]]
                kind = f" of type {one.resources.gpu_type}" if ":" in name else ""
                text = f"{who} limits the {unit}{kind} of a job to {most:.0f}, and {wanted:.0f} are asked for"
                yield text, f"lower {field} in {one.where}"


def _entry(one: Asked, partition: Partition, site: ClusterInfo) -> Iterator[Complaint]:
    """Whom a partition lets in."""
    wanted, name = one.resources, f"partition {partition.name}"
    accounts = {wanted.account} if wanted.account else {known.account for known in _associations(one, site)}
    if partition.allow_accounts is not None and site.accounting and not accounts & partition.allow_accounts:
        yield (
            f"{name} takes only the accounts {_names(partition.allow_accounts)}",
            one.put("account", sorted(partition.allow_accounts)),
        )
    if accounts and accounts <= partition.deny_accounts:
        yield f"{name} does not take the account {_names(accounts)}", f"name another account in {one.where}"
    if partition.allow_qos is not None and wanted.qos and wanted.qos not in partition.allow_qos:
        text = f"{name} takes only the QOS {_names(partition.allow_qos)}"
        yield text, one.put("qos", sorted(partition.allow_qos))
    if partition.allow_groups is not None and os.getuid() and not _groups() & partition.allow_groups:
        yield f"{name} is for the groups {_names(partition.allow_groups)}", f"name another partition in {one.where}"


def _account(one: Asked, site: ClusterInfo) -> Iterator[Complaint]:
    """What accounting knows of the user."""
    wanted, accounting = one.resources, site.accounting
    if accounting is None or not site.enforced & {*_LIMITS, "qos", "associations"}:
        return
    if not accounting.associations:
        yield "Slurm's accounting does not know you", "ask the administrators for an account"
        return
    accounts = sorted({known.account for known in accounting.associations})
    if wanted.account and wanted.account not in accounts:
        yield (
            f"account {wanted.account} is not yours; {expected(accounts, wanted.account)}",
            one.put("account", accounts),
        )
    if wanted.qos and site.enforced & {*_LIMITS, "qos"}:
        allowed = sorted(set().union(*(known.qos for known in _associations(one, site) or accounting.associations)))
        if wanted.qos not in allowed:
            text = f"QOS {wanted.qos} is not yours; {expected(allowed, wanted.qos)}"
            yield text, one.put("qos", allowed)


def _numbers(matrix: Matrix, wanted: Sequence[Asked], site: ClusterInfo) -> Iterator[Finding]:
    """Whether all of it can be queued at once; the narrowest limit is named."""
    limits = [(site.max_jobs, "the controller holds (MaxJobCount), others' included")]
    for one in wanted if site.enforced & _LIMITS else ():
        qos = [known for partition in _partitions(one, site) for known in _qos(one, partition, site)]
        limits += [(known.max_jobs_submitted, f"QOS {known.name} lets you queue") for known in qos]
        limits += [(a.max_jobs_submitted, f"account {a.account} lets you queue") for a in _associations(one, site)]
    jobs = sum(one.jobs for one in wanted)
    most, who = min(limits)
    if jobs > most:
        text = f"{matrix.path}: {jobs:,} jobs are more than the {most:,.0f} that {who}"
        todo = f"submit {matrix.path} in parts with --only, or call `cebctl submit` again as jobs end"
        yield Finding("cluster", "note", text, todo)


# What the above is made of.


def _partitions(one: Asked, site: ClusterInfo) -> list[Partition]:
    """Those the jobs could run in."""
    return [site.partitions[name] for name in _named(one, site) if name in site.partitions]


def _named(one: Asked, site: ClusterInfo) -> list[str]:
    """The partitions that are asked for, be they there or not."""
    return [name for name in (one.resources.partition or site.default_partition or "").split(",") if name]


def _associations(one: Asked, site: ClusterInfo) -> list[Association]:
    """Those of the user that the jobs could run under."""
    known = site.accounting.associations if site.accounting else ()
    return [item for item in known if one.resources.account in (None, item.account)]


def _limiting(one: Asked, partition: Partition, site: ClusterInfo) -> list[tuple[str, Qos | Association]]:
    """What limits each job of these, in words and as it is."""
    found: list[tuple[str, Qos | Association]] = [(f"QOS {qos.name}", qos) for qos in _qos(one, partition, site)]
    return found + [(f"account {known.account}", known) for known in _associations(one, site)[:1]]


def _qos(one: Asked, partition: Partition, site: ClusterInfo) -> list[Qos]:
    """That of the job, and that of the partition."""
    known = site.accounting.qos if site.accounting else {}
    default = next((own.default_qos for own in _associations(one, site)), "") or "normal"
    return [known[name] for name in dict.fromkeys((one.resources.qos or default, partition.qos)) if name in known]


def _within(one: Asked, partition: Partition, nodes: Sequence[Node]) -> Asked:
    """The same with no more of anything than a node has; GPUs of any type, where none has that which is asked for."""
    wanted, (cores, memory) = one.resources, _of_a_node(partition, nodes)
    typed = one if any(map(one.gpus_of, nodes)) else one.but(gpu_type=None)
    fewer = typed.but(gpus_per_node=min(wanted.gpus_per_node, max(map(typed.gpus_of, nodes))))
    little = f"{int(memory)}M" if wanted.memory and parse_megabytes(wanted.memory) > memory else wanted.memory
    return fewer.but(cpus=min(fewer.cpus, int(cores)), memory=little)


def _fitting(one: Asked, nodes: Sequence[Node]) -> int:
    return sum(one.fits(node) for node in nodes)


def _of_a_node(partition: Partition, nodes: Sequence[Node]) -> tuple[float, float]:
    """The most cores and megabytes of memory that a partition gives of one of its nodes."""
    cores, memory = max(node.cpus for node in nodes), max(node.memory for node in nodes)
    return min(cores, partition.max_cpus_per_node), min(memory, partition.max_memory_per_node)


def _kinds(nodes: Sequence[Node]) -> dict[str, int]:
    """The types of GPUs, with the most that one node has."""
    found: dict[str, int] = {}
    for node in nodes:
        for kind, count in node.gpus.items():
            found[kind] = max(found.get(kind, 0), count)
    return found


def _listed(kinds: dict[str, int]) -> str:
    return ", ".join(f"{kind or 'GPUs without a type'} ({count} per node)" for kind, count in sorted(kinds.items()))


def _names(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(str(name) for name in names))


def _groups() -> set[str]:
    """The names of the user's groups, asked one by one: many sites don't let all groups be listed."""
    found = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            found.add(str(number))
    return found
