"""Jobs that Slurm holds because it could not launch them: the next `submit` lets them go.

Slurm puts a job whose launch failed (a prolog that failed, a node that took it for another job's) back into its
queue and holds it there for good.
"""

from __future__ import annotations

from cebctl.status.collect import run_ids_with_dependencies
from cebctl.status.liveness import array_ids
from experiments.errors import UnreachableError
from experiments.matrix.planned_run import Matrix
from jobs.paths import Home
from jobs.slurm import client
from store import queries
from store.connect import Store
from store.ingest import ingest


def release(matrix: Matrix, store: Store, home: Home) -> dict[str, str]:
    """Let go what is held of the matrix's runs: Slurm's ids of it, each with why Slurm would not, or nothing.

    Raises UnreachableError if the queue can't be asked.
    """
    ingest(store, home)
    claims = [row for row in queries.open_claims(store, run_ids_with_dependencies(matrix)) if row.job]
    claimed = {(row.job, row.array_index) for row in claims}
    queue = [*client.queue({row.job for row in claims if row.job}), *client.queue_by_ids(array_ids(claims))]
    held = [element.job for element in queue if (element.name, element.index) in claimed and element.launch_failed]
    return {job: _why_not(job) for job in dict.fromkeys(held)}


def _why_not(job: str) -> str:
    """Empty: it was let go. A colleague's job, in a home that is shared, is not."""
    try:
        client.release(job)
    except UnreachableError as error:
        return str(error)
    return ""
