"""What keeps the jobs of a matrix from running on a cluster, found before anything is sent.

Slurm itself refuses little of it: by default it accepts what no node has, or what is over a limit, and lets it wait
for ever.
"""

from __future__ import annotations

import grp
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cebctl.control.asked import Asked, asked
from cebctl.control.cautions import cautions
from cebctl.control.findings import Finding
from experiments.errors import expected
from experiments.matrix import Matrix, PlannedRun
from experiments.resources import Stage
from jobs import slurm
from jobs.site import Association, Node, Partition, Qos, Site, megabytes, time_text

Complaint = tuple[str, str]
"""What a cluster does not have or allow, and what to do about it."""
_FEATURE = re.compile(r"(!?)([A-Za-z][\w.-]*)")


def obstacles(matrix: Matrix, site: Site, stages: Iterable[tuple[PlannedRun, Stage]] | None = None) -> list[Finding]:
    """What would keep stages of a matrix's runs (all, if none are given) from ever starting, as `wrong`; what else
    is worth knowing, as a `note`."""
    wanted = asked(matrix, stages)
    found: Counter[Finding] = Counter()
    for one in wanted:
        found.update(dict.fromkeys(_examine(one, site), one.jobs))
    return [
        *(replace(one, text=f"{one.text} ({jobs:,} job{'s' * (jobs > 1)})") for one, jobs in found.items()),
        *_numbers(matrix, wanted, site),
    ]


def _examine(one: Asked, site: Site) -> Iterator[Finding]:
    yield from (one.finding("wrong", *complaint) for complaint in _account(one, site))
    if one.resources.reservation and one.resources.reservation not in site.reservations:
        text = f"there is no reservation {one.resources.reservation}"
        yield one.finding("wrong", text, one.put("reservation", sorted(site.reservations)))
    names = (one.resources.partition or site.default_partition or "").split(",")
    if names == [""]:
        text = "no partition is named, and the cluster has no default one"
        yield one.finding("wrong", text, one.put("partition", site.partitions))
        return
    if unknown := [name for name in names if name not in site.partitions]:
        text = f"there is no partition {unknown[0]}; {expected(site.partitions, unknown[0])}"
        yield one.finding("wrong", text, one.put("partition", site.partitions))
        return
    partitions = _partitions(one, site)
    complaints = [list(_complaints(one, partition, site)) for partition in partitions]
    if all(complaints):  # of several partitions, Slurm takes any that does
        yield from (one.finding("wrong", *complaint) for several in complaints for complaint in several)
    for partition in (partition for partition, several in zip(partitions, complaints, strict=True) if not several):
        yield from cautions(one, partition, site)


# Why a partition would never start these jobs.


def _complaints(one: Asked, partition: Partition, site: Site) -> Iterator[Complaint]:
    wanted, name = one.resources, f"partition {partition.name}"
    nodes = site.nodes_of(partition.name)
    if partition.state != "UP":
        yield f"{name} is {partition.state}", f"name another partition than {partition.name}, or ask who looks after it"
    if not nodes:
        yield f"{name} has no nodes", f"name another partition than {partition.name}"
        return
    yield from _time(one, partition, site)
    yield from _entry(one, partition, site)
    most = min(partition.max_nodes, len(nodes))
    if not partition.min_nodes <= wanted.nodes <= most:
        least = max(partition.min_nodes, 1)
        allowed = f"{least:g} to {most:g}" if least < most else f"{most:g}"
        yield f"{name} gives a job {allowed} node{'s' * (most > 1)}, not {wanted.nodes}", one.put("nodes", allowed)
    lacking = [*_gpus(one, name, nodes), *_cores_and_memory(one, partition, nodes), *_features(one, name, nodes)]
    yield from lacking
    fitting = sum(one.fits(node) for node in nodes)
    if not lacking and fitting < wanted.nodes <= most:
        many = f"{fitting or 'no'} node{'s' * (fitting > 1)}"
        text = f"{name} has {many} with all of that at once, and {wanted.nodes} are asked for"
        yield text, f"ask for less in {one.where}"


def _gpus(one: Asked, name: str, nodes: Sequence[Node]) -> Iterator[Complaint]:
    wanted = one.resources
    kinds = _kinds(nodes)
    most = max(one.gpus_of(node) for node in nodes)
    if not wanted.gpus_per_node:
        return
    if not kinds:
        yield f"{name} has no GPUs", f"name a partition that has GPUs in {one.where}"
    elif not most:
        text = f"{name} has no GPU of type {wanted.gpu_type}; it has {_listed(kinds)}"
        yield text, one.put("gpu_type", sorted(filter(None, kinds)))
    elif wanted.gpus_per_node > most:
        text = f"{name} has at most {most} {wanted.gpu_type or 'GPUs'} in a node, not {wanted.gpus_per_node}"
        yield text, one.put("gpus_per_node", f"at most {most}")


def _cores_and_memory(one: Asked, partition: Partition, nodes: Sequence[Node]) -> Iterator[Complaint]:
    wanted, name = one.resources, f"partition {partition.name}"
    cores = min(max(node.cpus for node in nodes), partition.max_cpus_per_node)
    if one.cpus > cores:
        per_gpu = wanted.gpus_per_node if wanted.cpus is None and wanted.cpus_per_gpu else 0
        todo = one.put("cpus_per_gpu", f"at most {cores // per_gpu:g}") if per_gpu else \
            one.put("cpus", f"at most {cores:g}")  # fmt: skip
        yield f"{name} gives at most {cores:g} cores of a node, not {one.cpus}", todo
    memory = min(max(node.memory for node in nodes), partition.max_memory_per_node)
    if wanted.memory and megabytes(wanted.memory) > memory:
        text = f"{name} gives at most {memory:.0f}M of memory in a node, not {wanted.memory}"
        yield text, one.put("memory", f"at most {memory:.0f}M")


def _features(one: Asked, name: str, nodes: Sequence[Node]) -> Iterator[Complaint]:
    """Only what no node has is certain: of alternatives, one that exists is enough."""
    constraint = one.resources.constraint or ""
    there = set().union(*(node.features for node in nodes))
    asked_for = [feature for without, feature in _FEATURE.findall(constraint) if not without]
    missing = [feature for feature in asked_for if feature not in there]
    if missing and (len(missing) == len(asked_for) or not re.search(r"[|\[]", constraint)):
        text = f"no node of {name} has the feature {missing[0]}; they have {', '.join(sorted(there)) or 'none'}"
        yield text, one.put("constraint", sorted(there))


def _time(one: Asked, partition: Partition, site: Site) -> Iterator[Complaint]:
    seconds = slurm.seconds(one.resources.time or "")
    limits = [(f"partition {partition.name}", partition.max_time)]
    limits += [(f"QOS {qos.name}", qos.max_time) for qos in _qos(one, partition, site)]
    limits += [(f"account {known.account}", known.max_time) for known in _associations(one, site)[:1]]
    for what, most in limits if seconds else ():
        if seconds and seconds > most:
            text = f"{what} allows {time_text(most)} at most, not {one.resources.time}"
            yield text, one.put("time", f"at most {time_text(most)}; what is not done then goes on in another attempt")


def _entry(one: Asked, partition: Partition, site: Site) -> Iterator[Complaint]:
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


def _account(one: Asked, site: Site) -> Iterator[Complaint]:
    """What accounting knows of the user."""
    wanted, accounting = one.resources, site.accounting
    if accounting is None or not site.enforced & {"associations", "limits", "qos", "safe", "all"}:
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
        return
    if wanted.qos and site.enforced & {"qos", "limits", "safe", "all"}:
        allowed = sorted(set().union(*(known.qos for known in _associations(one, site))))
        if wanted.qos not in allowed:
            text = f"QOS {wanted.qos} is not yours; {expected(allowed, wanted.qos)}"
            yield text, one.put("qos", allowed)


def _numbers(matrix: Matrix, wanted: Sequence[Asked], site: Site) -> Iterator[Finding]:
    """Whether all of it can be queued at once; the narrowest limit is named."""
    limits = [(site.max_jobs, "the controller holds (MaxJobCount), others' included")]
    for one in wanted if site.enforced & {"limits", "safe", "all"} else ():
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


def _partitions(one: Asked, site: Site) -> list[Partition]:
    """Those the jobs could run in."""
    names = (one.resources.partition or site.default_partition or "").split(",")
    return [site.partitions[name] for name in names if name in site.partitions]


def _associations(one: Asked, site: Site) -> list[Association]:
    """Those of the user that the jobs could run under."""
    known = site.accounting.associations if site.accounting else ()
    return [item for item in known if one.resources.account in (None, item.account)]


def _qos(one: Asked, partition: Partition, site: Site) -> list[Qos]:
    known = site.accounting.qos if site.accounting else {}
    return [known[name] for name in (one.resources.qos or "", partition.qos) if name in known]


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
