"""Nodes on which run after run dies while runs live elsewhere: new jobs are kept from them.

A job that was killed may have itself to blame, and a matrix that asks for too little memory dies on every node. So a
node is suspected only if different runs died on it, or vanished with it, since anything last succeeded there, and as
many succeeded on other nodes meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Sequence

from store import queries
from store.connect import Store
from store.row_types import AttemptRow

DEATHS = 3
"""Of different runs."""
DAYS = 7.0
"""After which a node is given another chance: somebody will have looked after it."""
AT_MOST = 0.25
"""The share of a cluster that is kept away from."""


def nodes_to_exclude(store: Store, nodes: Collection[str]) -> dict[str, str]:
    """The nodes to be kept from, of those that the cluster has, worst first, and why."""
    found = _suspects(queries.attempts(store), time.time() - DAYS * 86_400)
    there = [node for node in found if node in nodes]
    kept = there[: max(int(len(nodes) * AT_MOST), 1)] if len(nodes) > 1 else []
    return {node: f"{found[node]} runs in a row died on it while others succeeded elsewhere" for node in kept}


def _suspects(jobs: Sequence[AttemptRow], since: float) -> dict[str, int]:
    """Nodes and how many runs died on each, most first."""
    newest = {(job.run_id, job.stage): job.attempt for job in jobs}  # ordered by attempt
    here: dict[str, list[AttemptRow]] = defaultdict(list)
    for job in jobs:
        if job.host and job.executor_job and job.updated_at > since:
            here[job.host].append(job)
    succeeded = [(job.updated_at, job.host) for host in here for job in here[host] if job.state == "succeeded"]
    found = {}
    for host, attempts in here.items():
        last = max((when for when, where in succeeded if where == host), default=0.0)
        deaths = [job for job in attempts if job.updated_at > last and _dead(job, newest[job.run_id, job.stage])]
        runs = len({job.run_id for job in deaths})
        if runs >= DEATHS:
            first = min(job.started_at or job.updated_at for job in deaths)
            if sum(where != host and when > first for when, where in succeeded) >= runs:
                found[host] = runs
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _dead(job: AttemptRow, newest: int) -> bool:
    """Whether an attempt was killed, or vanished without a word so that another one followed."""
    return job.state == "died" or (job.state == "started" and job.attempt < newest)
