"""Jobs that Slurm holds because it could not launch them: the next `submit` lets them go.

Slurm puts a job whose launch failed (a prolog that failed, a node that took it for another job's) back into its
queue and holds it there for good.
"""

from __future__ import annotations

from cebctl.control.survey import facts
from experiments.matrix import Matrix
from jobs import slurm
from jobs.home import Home
from store.opening import Store


def release(matrix: Matrix, store: Store, home: Home) -> list[str]:
    """Let go what is held of the matrix's runs; Slurm's ids of it. Raises UnreachableError if Slurm does not obey."""
    claimed = {
        (row.job, row.array_index) for rows in facts(matrix, store, home).claims.values() for row in rows if row.job
    }
    if not claimed:
        return []
    queue = slurm.queue({job for job, _ in claimed if job})
    held = [element.job for element in queue if (element.name, element.index) in claimed and element.launch_failed]
    for job in held:
        slurm.release(job)
    return held
