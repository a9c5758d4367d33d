"""The environment of a job: the caller's without what would leak into it, and the code from the snapshot."""

from __future__ import annotations

import os

from jobs import file_ownership
from jobs.paths import Home, data_folder
from jobs.provenance import Snapshot

SLURM_PREFIXES = ("SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SLURM_")
"""How the variables begin by which Slurm's commands change their ways."""

_INHERITED_PREFIXES = ("PYTHON", "SUBMITIT_", "CEBCTL_", "VIRTUAL_ENV", *SLURM_PREFIXES)


def job_environment(home: Home, snapshot: Snapshot) -> dict[str, str]:
    """A clean environment: the caller's without what would leak into a job, and the code from the snapshot alone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_INHERITED_PREFIXES)}
    return kept | _set_in_jobs(home, snapshot) | {"OMP_NUM_THREADS": "1"}


def _set_in_jobs(home: Home, snapshot: Snapshot) -> dict[str, str]:
    return {
        "PYTHONPATH": str(snapshot.folder),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "CEBCTL_HOME": str(home.folder),
        "CEBCTL_DATA": str(data_folder()),
    } | ({"CEBCTL_SHARED": file_ownership.GROUP} if file_ownership.is_shared() else {})
