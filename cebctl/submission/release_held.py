"""Release the jobs that Slurm holds because it could not launch them: the next `submit` does so.

Slurm puts a job whose launch failed (a prolog that failed, a node that took it for another job's) back into its
queue and holds it there for good.
"""

from __future__ import annotations

from collections.abc import Iterable

from cebctl.status.liveness import array_ids
from experiments.errors import UnreachableError
from jobs.slurm import client
from store.row_types import ClaimRow


def release_launch_failed_jobs(claims: Iterable[ClaimRow]) -> dict[str, str]:
    """Release the held jobs that work on the claims; return their Slurm ids, each with the error, or nothing.

    Raises UnreachableError if the queue can't be asked; so Slurm itself is asked here, not the remembered queue, which
    may be older than the failure.
    """
    claims = [row for row in claims if row.job]
    claimed = {(row.job, row.array_index) for row in claims}
    queue = [
        *client.query_squeue({row.job for row in claims if row.job}),
        *client.query_squeue_by_ids(array_ids(claims)),
    ]
    held = [element.job for element in queue if (element.name, element.index) in claimed and element.has_failed_launch]
    return {job: _release(job) for job in dict.fromkeys(held)}


def _release(job: str) -> str:
    """Release a job; return the error, as for a colleague's job in a shared home, or nothing."""
    try:
        client.release(job)
    except UnreachableError as error:
        return str(error)
    return ""
