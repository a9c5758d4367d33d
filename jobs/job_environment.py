"""The environment of a job: the caller's without what would leak into it, and the code from the snapshot."""

from __future__ import annotations

import os

from jobs import file_ownership
from jobs.paths import Home, data_folder
from jobs.provenance import Snapshot

SLURM_PREFIXES = ("SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SLURM_")
"""Prefixes of the variables that change how Slurm's commands behave."""

_DROPPED_PREFIXES = ("PYTHON", "SUBMITIT_", "CEBCTL_", "VIRTUAL_ENV", *SLURM_PREFIXES)


def job_environment(home: Home, snapshot: Snapshot) -> dict[str, str]:
    """Return the caller's environment without what would leak into a job, with the code from the snapshot alone."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED_PREFIXES)}
    return inherited | job_variables(home, snapshot) | {"OMP_NUM_THREADS": "1"}


def job_variables(home: Home, snapshot: Snapshot) -> dict[str, str]:
    """Return the variables that every job needs, on whichever executor."""
    return {
        "PYTHONPATH": str(snapshot.folder),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "CEBCTL_HOME": str(home.folder),
        "CEBCTL_DATA": str(data_folder()),
    } | ({"CEBCTL_SHARED": file_ownership.GROUP} if file_ownership.is_shared() else {})
