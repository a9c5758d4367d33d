"""What a Slurm cluster is like for these jobs: whether it answers, what it has, and what its settings cost."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cebctl.diagnostics.findings import Finding, Level
from cebctl.diagnostics.resource_limits import held_against, obstacles
from cebctl.diagnostics.resource_requests import asked
from cebctl.diagnostics.resource_warnings import preemption
from cebctl.status.rerun import Rerun
from cebctl.status.states import RunStatus
from cebctl.submission.submit import pending_stages
from experiments import resources
from experiments.errors import CebctlError, InputError, UnreachableError
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home, data_folder
from jobs.slurm import client, sbatch
from jobs.slurm import cluster_info as sites
from jobs.slurm.cluster_info import UNLIMITED, ClusterInfo, Partition, format_time
from store.locks import file_system, network_file_system

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
SLOW_SECONDS = 2.0
CLOCK_SECONDS = 5.0
"""Between two clocks; munge refuses what is 300 s old, and a heartbeat that is as old counts as none."""
MEMORY_SECONDS = 60.0
"""A controller that forgets a finished job sooner than this may have forgotten it before anybody asked."""
NOT_SHARED = ("tmpfs", "ramfs", "overlay", "devtmpfs")


def examine(home: Home, matrix: Matrix | None = None) -> list[Finding]:
    """Everything of the cluster, and what it holds against a matrix; nothing much where there is no Slurm."""
    absent = [command for command in COMMANDS if not shutil.which(command)]
    if len(absent) == len(COMMANDS):
        return [_say("ok", "no Slurm commands on the PATH: jobs run on this machine (`--on local`)")]
    if absent:
        todo = "load the module, or install the package, that brings Slurm's commands"
        return [_say("wrong", f"{', '.join(absent)}: not on the PATH, though other Slurm commands are", todo)]
    try:
        site = sites.query()
    except UnreachableError as error:
        return [_unreachable(error)]
    found = [*_controller(site), *_partitions(site), *_memory_of_jobs(site), *_folders(site, home)]
    if matrix is None:
        return [*found, *_preemption(site)]
    return [*found, *obstacles(matrix, site), *_rehearsals(matrix, site)]


class ObstaclesError(InputError):
    """The cluster would never start what is to be submitted: every reason, a line each."""

    def __init__(self, found: Sequence[Finding]) -> None:
        CebctlError.__init__(self, "\n".join(f"{one.text}; {one.todo}" for one in found))


def check(
    matrix: Matrix, runs: Iterable[RunStatus], *, retry_failed: bool, heed: bool = True, again: Rerun | None = None
) -> ClusterInfo:
    """See, if `heed`, that the cluster would start what `submit` is about to send of the runs; the cluster. Writes
    nothing.

    Raises ObstaclesError if it would not, UnreachableError if it does not answer.
    """
    site = sites.query()
    if not heed:
        return site
    every = {run.run_id for run in matrix.runs}
    offered = pending_stages(runs, retry_failed=retry_failed, dependable=every, again=again)
    stages = [(run.planned, stage.stage) for run, stage in offered]
    if wrong := [one for one in obstacles(matrix, site, stages) if one.level == "wrong"]:
        raise ObstaclesError(wrong)
    return site


def _unreachable(error: UnreachableError) -> Finding:
    if isinstance(error, client.NotConfiguredError):
        return _say("note", str(error))
    return _say("wrong", f"the controller does not answer: {error}", "see `scontrol ping`; jobs in the queue go on")


def _controller(site: ClusterInfo) -> Iterator[Finding]:
    slow = site.answered_in > SLOW_SECONDS
    yield _say("note" if slow else "ok", f"Slurm {site.version} answers in {site.answered_in:.2f} s")
    if abs(site.clock_ahead) > CLOCK_SECONDS:
        which = "ahead of" if site.clock_ahead > 0 else "behind"
        text = f"the controller's clock is {abs(site.clock_ahead):.0f} s {which} this machine's"
        yield _say("wrong", text, "have both clocks set by NTP: munge refuses what seems 5 minutes old")
    if site.max_array_size < 2:
        yield _say(
            "wrong", "job arrays are switched off (MaxArraySize)", "ask the administrators for MaxArraySize=1001"
        )
    else:
        yield _say("ok", f"arrays hold {site.max_array_size - 1:,} jobs each, the controller {site.max_jobs:,.0f}")


def _partitions(site: ClusterInfo) -> Iterator[Finding]:
    if not site.partitions:
        yield _say("wrong", "no partition is visible", "ask the administrators for access to one")
    for partition in site.partitions.values():
        yield _say("ok" if partition.state == "UP" else "note", _described(partition, site))


def _described(partition: Partition, site: ClusterInfo) -> str:
    """`partition gpu (default): 4 nodes x 16 cores, 16000M, 8 a100; no time limit`."""
    nodes = site.nodes_of(partition.name)
    kinds = Counter(
        ", ".join([f"{n.cpus} cores", f"{n.memory:.0f}M", *(f"{n_} {kind or 'GPUs'}" for kind, n_ in n.gpus.items())])
        for n in nodes
    )
    machines = " + ".join(f"{count} x ({what})" for what, count in kinds.most_common(4)) or "no nodes"
    limit = f"up to {format_time(partition.max_time)}" if partition.max_time < UNLIMITED else "no time limit"
    idle = sum(node.is_in_service for node in nodes)
    parts = [f"{machines}{' + …' if len(kinds) > 4 else ''}", limit]
    parts += [f"{len(nodes) - idle} nodes out of service"] if idle < len(nodes) else []
    parts += [partition.state] if partition.state != "UP" else []
    return f"partition {partition.name}{' (default)' * partition.default}: {', '.join(parts)}"


def _memory_of_jobs(site: ClusterInfo) -> Iterator[Finding]:
    """Who can say what became of a job."""
    if site.accounting is not None:
        yield _say("ok", f"accounting remembers jobs, and enforces {', '.join(sorted(site.enforced)) or 'nothing'}")
    elif site.accounting_error:
        yield _say("note", f"the accounting does not answer: {site.accounting_error}", "see `sacctmgr show cluster`")
    else:
        text = (
            f"no accounting: how a job ended is known for {site.min_job_age:g} s, later from its journal alone, which "
            "can't say why one that vanished did (time limit, lost node, memory). account and qos mean nothing here"
        )
        yield _say("note", text)
    if site.min_job_age < MEMORY_SECONDS and site.accounting is None:
        text = f"the controller forgets a finished job after {site.min_job_age:g} s (MinJobAge)"
        yield _say("note", text, "call `cebctl status` while jobs run, or ask the administrators for MinJobAge=300")
    if "jobs" in site.config.get("PrivateData", "").lower():
        yield _say("note", "others' jobs are hidden (PrivateData): of a home that several people use, theirs look lost")


def _preemption(site: ClusterInfo) -> Iterator[Finding]:
    for partition in site.partitions.values():
        if words := preemption(None, partition, site):
            yield _say("note", *words)


def _rehearsals(matrix: Matrix, site: ClusterInfo) -> Iterator[Finding]:
    """What sbatch itself says, where nothing is known to be wrong: a site may have rules that nobody can read from
    outside."""
    for one in asked(matrix):
        if any(finding.level == "wrong" for finding in held_against(one, site)):
            continue
        what = f"{one.where} ({resources.format_resources(one.resources)})"
        try:
            said, tells_when = sbatch.test_only(one.resources)
            yield _say("ok" if tells_when else "note", f"{what}: sbatch would take it, {said}")
        except CebctlError as error:
            yield _say("wrong", f"{what}: {error}", f"ask for something else in {one.where}")


def _folders(site: ClusterInfo, home: Home) -> Iterator[Finding]:
    """Whether the nodes can see what jobs need."""
    here = socket.gethostname().partition(".")[0]
    elsewhere = [node.name for node in site.nodes if node.host.partition(".")[0] != here]
    if not elsewhere:
        return
    for what, variable, folder in (("home", "CEBCTL_HOME", home.folder), ("data", "CEBCTL_DATA", data_folder())):
        yield _shared(what, variable, folder, elsewhere[0])


def _shared(what: str, variable: str, folder: Path, node: str) -> Finding:
    if kind := network_file_system(folder):
        return _say("ok", f"the {what} {folder} is on {kind}, which nodes can share")
    kind = file_system(folder) or "a file system of unknown kind"
    todo = f"set {variable} to a folder that every node sees"
    if kind in NOT_SHARED or folder.is_relative_to("/tmp"):
        return _say("wrong", f"the {what} {folder} is on {kind}, of this machine alone: {node} can't see it", todo)
    text = f"the {what} {folder} is on {kind}, which looks local: can {node} see it? (`srun ls {folder}` tells)"
    return _say("note", text, f"{todo}, if they do not see {folder}")


def _say(level: Level, text: str, todo: str = "") -> Finding:
    return Finding("cluster", level, text, todo)
