"""Jobs that Slurm holds because it could not launch them: the next `submit` lets them go.

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
    """Let go what is held of the jobs that work on the claims: Slurm's ids of them, each with why Slurm would not, or
    nothing.

    Slurm is asked, not what is remembered of its queue: that does not tell a queue that was not reached.

    Raises UnreachableError if the queue can't be asked.
    """
    claims = [row for row in claims if row.job]
    claimed = {(row.job, row.array_index) for row in claims}
    queue = [
        *client.query_squeue({row.job for row in claims if row.job}),
        *client.query_squeue_by_ids(array_ids(claims)),
    ]
    held = [element.job for element in queue if (element.name, element.index) in claimed and element.has_failed_launch]
    return {job: _why_not(job) for job in dict.fromkeys(held)}


def _why_not(job: str) -> str:
    """Empty: it was let go. A colleague's job, in a home that is shared, is not."""
    try:
        client.release(job)
    except UnreachableError as error:
        return str(error)
    return ""
