"""Nodes on which run after run dies while runs succeed elsewhere: new jobs avoid them.

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

MIN_DEATHS = 3
"""Deaths of different runs."""
DAYS = 7.0
"""After which a node is given another chance: somebody will have repaired it."""
MAX_SHARE = 0.25
"""The share of a cluster that is excluded at most."""


def nodes_to_exclude(store: Store, nodes: Collection[str]) -> dict[str, str]:
    """Return the nodes of the cluster that new jobs must avoid, worst first, with the reasons."""
    deaths = _deaths_by_node(queries.attempts(store), time.time() - DAYS * 86_400)
    suspects = [node for node in deaths if node in nodes]
    excluded = suspects[: max(int(len(nodes) * MAX_SHARE), 1)] if len(nodes) > 1 else []
    return {node: f"{deaths[node]} runs in a row died on it while others succeeded elsewhere" for node in excluded}


def _deaths_by_node(attempts: Sequence[AttemptRow], since: float) -> dict[str, int]:
    """Return the suspected nodes and how many runs died on each, most first."""
    newest = {(row.run_id, row.stage): row.attempt for row in attempts}  # ordered by attempt
    by_node: dict[str, list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        if row.host and row.executor_job and row.updated_at > since:
            by_node[row.host].append(row)
    successes = [(row.updated_at, node) for node, rows in by_node.items() for row in rows if row.state == "succeeded"]
    counts = {}
    for node, rows in by_node.items():
        last_success = max((time for time, host in successes if host == node), default=0.0)
        deaths = [
            row for row in rows if row.updated_at > last_success and _has_died(row, newest[row.run_id, row.stage])
        ]
        runs = len({row.run_id for row in deaths})
        if runs >= MIN_DEATHS:
            first = min(row.started_at or row.updated_at for row in deaths)
            # A fault of the runs would kill them on the other nodes as well.
            if sum(host != node and time > first for time, host in successes) >= runs:
                counts[node] = runs
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _has_died(attempt: AttemptRow, newest: int) -> bool:
    """Whether an attempt was killed, or vanished without a record so that another one followed."""
    return attempt.state == "died" or (attempt.state == "started" and attempt.attempt < newest)
