"""Checks of a Slurm cluster: that it answers, what it has, what its settings cost, and that it can start the jobs."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cebctl.diagnostics.findings import Finding, Level
from cebctl.diagnostics.resource_limits import validate_request, validate_requests
from cebctl.diagnostics.resource_requests import resource_requests
from cebctl.diagnostics.resource_warnings import preemption_warning
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
CLOCK_SKEW_SECONDS = 5.0
"""Between two clocks; munge refuses a message that is 300 s old, and a heartbeat as old counts as none."""
MIN_JOB_AGE_SECONDS = 60.0
"""A controller that forgets a finished job sooner may do so before anybody asks for it."""
LOCAL_FILE_SYSTEMS = ("tmpfs", "ramfs", "overlay", "devtmpfs")


def examine_cluster(home: Home, matrix: Matrix | None = None) -> list[Finding]:
    """Return what there is to know of the cluster, and what would keep the jobs of a matrix from starting on it."""
    absent = [command for command in COMMANDS if not shutil.which(command)]
    if len(absent) == len(COMMANDS):
        return [_finding("ok", "no Slurm commands on the PATH: jobs run on this machine (`--on local`)")]
    if absent:
        todo = "load the module, or install the package, that brings Slurm's commands"
        return [_finding("wrong", f"{', '.join(absent)}: not on the PATH, though other Slurm commands are", todo)]
    try:
        site = sites.query()
    except client.NotConfiguredError as error:
        return [_finding("note", str(error))]
    except UnreachableError as error:
        text = f"the controller does not answer: {error}"
        return [_finding("wrong", text, "see `scontrol ping`; jobs in the queue go on")]
    findings = [
        *_check_controller(site), *_check_partitions(site), *_check_job_memory(site), *_check_folders(site, home),
    ]  # fmt: skip
    if matrix is None:
        costs = [preemption_warning(None, partition, site) for partition in site.partitions.values()]
        return [*findings, *(_finding("note", *cost) for cost in costs if cost)]
    return [*findings, *validate_requests(matrix, site), *_test_requests(matrix, site)]


class UnschedulableError(InputError):
    """The cluster would never start some jobs: every reason, a line each."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        CebctlError.__init__(self, "\n".join(f"{finding.text}; {finding.todo}" for finding in findings))


def check_cluster(
    matrix: Matrix, runs: Iterable[RunStatus], *, retry_failed: bool, heed: bool = True, again: Rerun | None = None
) -> ClusterInfo:
    """Check, if `heed`, that the cluster would start what `submit` is about to send of the runs. Writes nothing.

    Raises UnschedulableError if it would not, UnreachableError if it does not answer.
    """
    site = sites.query()
    if not heed:
        return site
    run_ids = {run.run_id for run in matrix.runs}
    pending = pending_stages(runs, retry_failed=retry_failed, dependable=run_ids, again=again)
    findings = validate_requests(matrix, site, [(run.planned, stage.stage) for run, stage in pending])
    if faults := [finding for finding in findings if finding.level == "wrong"]:
        raise UnschedulableError(faults)
    return site


def _check_controller(site: ClusterInfo) -> Iterator[Finding]:
    slow = site.answered_in > SLOW_SECONDS
    yield _finding("note" if slow else "ok", f"Slurm {site.version} answers in {site.answered_in:.2f} s")
    if abs(site.clock_ahead) > CLOCK_SKEW_SECONDS:
        direction = "ahead of" if site.clock_ahead > 0 else "behind"
        text = f"the controller's clock is {abs(site.clock_ahead):.0f} s {direction} this machine's"
        yield _finding("wrong", text, "have both clocks set by NTP: munge refuses what seems 5 minutes old")
    if site.max_array_size < 2:
        text = "job arrays are switched off (MaxArraySize)"
        yield _finding("wrong", text, "ask the administrators for MaxArraySize=1001")
    else:
        yield _finding("ok", f"arrays hold {site.max_array_size - 1:,} jobs each, the controller {site.max_jobs:,.0f}")


def _check_partitions(site: ClusterInfo) -> Iterator[Finding]:
    if not site.partitions:
        yield _finding("wrong", "no partition is visible", "ask the administrators for access to one")
    for partition in site.partitions.values():
        yield _finding("ok" if partition.state == "UP" else "note", _describe_partition(partition, site))


def _describe_partition(partition: Partition, site: ClusterInfo) -> str:
    """Return `partition gpu (default): 4 nodes x 16 cores, 16000M, 8 a100; no time limit`."""
    nodes = site.nodes_of(partition.name)
    hardware = Counter(
        ", ".join([f"{n.cpus} cores", f"{n.memory:.0f}M", *(f"{g} {kind or 'GPUs'}" for kind, g in n.gpus.items())])
        for n in nodes
    )
    machines = " + ".join(f"{count} x ({text})" for text, count in hardware.most_common(4)) or "no nodes"
    limit = f"up to {format_time(partition.max_time)}" if partition.max_time < UNLIMITED else "no time limit"
    out_of_service = sum(not node.is_in_service for node in nodes)
    parts = [f"{machines}{' + …' if len(hardware) > 4 else ''}", limit]
    parts += [f"{out_of_service} nodes out of service"] if out_of_service else []
    parts += [partition.state] if partition.state != "UP" else []
    return f"partition {partition.name}{' (default)' * partition.default}: {', '.join(parts)}"


def _check_job_memory(site: ClusterInfo) -> Iterator[Finding]:
    """Check for how long Slurm can tell how a job ended."""
    if site.accounting is not None:
        enforced = ", ".join(sorted(site.enforced)) or "nothing"
        yield _finding("ok", f"accounting remembers jobs, and enforces {enforced}")
    elif site.accounting_error:
        text = f"the accounting does not answer: {site.accounting_error}"
        yield _finding("note", text, "see `sacctmgr show cluster`")
    else:
        text = (
            f"no accounting: how a job ended is known for {site.min_job_age:g} s, later from its journal alone, which "
            "can't say why one that vanished did (time limit, lost node, memory). account and qos mean nothing here"
        )
        yield _finding("note", text)
    if site.min_job_age < MIN_JOB_AGE_SECONDS and site.accounting is None:
        text = f"the controller forgets a finished job after {site.min_job_age:g} s (MinJobAge)"
        yield _finding("note", text, "call `cebctl status` while jobs run, or ask the administrators for MinJobAge=300")
    if "jobs" in site.config.get("PrivateData", "").lower():
        text = "others' jobs are hidden (PrivateData): of a home that several people use, theirs look lost"
        yield _finding("note", text)


def _test_requests(matrix: Matrix, site: ClusterInfo) -> Iterator[Finding]:
    """Test with sbatch the requests that seem right, because a site may have rules that nobody can read."""
    for request in resource_requests(matrix):
        if any(finding.level == "wrong" for finding in validate_request(request, site)):
            continue
        subject = f"{request.source} ({resources.format_resources(request.resources)})"
        try:
            answer, has_start = sbatch.test_only(request.resources)
            yield _finding("ok" if has_start else "note", f"{subject}: sbatch would take it, {answer}")
        except sbatch.TooManyJobsError as error:
            yield _finding("note", f"{subject}: not now, {error}", "submit again as jobs end")
        except CebctlError as error:
            # Of nodes out of service a test says this too, although sbatch takes the job and lets it wait.
            if "node configuration is not available" in str(error) and not all(n.is_in_service for n in site.nodes):
                yield _finding("note", f"{subject}: sbatch would take it, and it waits for nodes out of service")
                continue
            yield _finding("wrong", f"{subject}: {error}", f"ask for something else in {request.source}")


def _check_folders(site: ClusterInfo, home: Home) -> Iterator[Finding]:
    """Check that other nodes can see the home and the data."""
    host = socket.gethostname().partition(".")[0]
    other_nodes = [node.name for node in site.nodes if node.host.partition(".")[0] != host]
    folders = (("home", "CEBCTL_HOME", home.folder), ("data", "CEBCTL_DATA", data_folder()))
    for name, variable, folder in folders if other_nodes else ():
        kind = network_file_system(folder) or file_system(folder) or "a file system of unknown kind"
        text = f"the {name} {folder} is on {kind}"
        todo = f"set {variable} to a folder that every node sees"
        if network_file_system(folder):
            yield _finding("ok", f"{text}, which nodes can share")
        elif kind in LOCAL_FILE_SYSTEMS or folder.is_relative_to("/tmp"):
            yield _finding("wrong", f"{text}, of this machine alone: {other_nodes[0]} can't see it", todo)
        else:
            text += f", which looks local: can {other_nodes[0]} see it? (`srun ls {folder}` tells)"
            yield _finding("note", text, f"{todo}, if they do not see {folder}")


def _finding(level: Level, text: str, todo: str = "") -> Finding:
    return Finding("cluster", level, text, todo)
