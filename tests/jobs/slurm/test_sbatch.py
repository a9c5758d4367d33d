"""The batch script of an array, whose text a private function of submitit writes."""

import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from experiments.resources import Resources
from jobs.paths import Home
from jobs.provenance import Snapshot
from jobs.slurm import sbatch

SCRIPT = """\
#!/bin/bash

# Parameters
#SBATCH --array=0-2,5%2
#SBATCH --comment='it'"'"'s mine'
#SBATCH --cpus-per-task=8
#SBATCH --dependency=afterany:7
#SBATCH --exclude=n1,n2
#SBATCH --export=ALL
#SBATCH --gpus-per-node=a100:4
#SBATCH --job-name=ceb-train
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=64G
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --open-mode=append
#SBATCH --output=/home/x/workers/sub/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=2:00:00

# setup
export PYTHONPATH=/code
export PYTHONSAFEPATH=1
export PYTHONUNBUFFERED=1
export CEBCTL_HOME=/home/x
export CEBCTL_DATA=/data
export OMP_NUM_THREADS=8
module load cuda
set +e

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /home/x/workers/sub/%A_%a_%t_log.out --kill-on-bad-exit=1 --cpus-per-task=8 --export=ALL \
PYTHON -m jobs.slurm.array_task /home/x sub ceb-train


# teardown
code=$?
exec PYTHON -m jobs.slurm.array_task /home/x sub ceb-train --ended "$code"
"""


def test_the_batch_script_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "PYTHON")
    monkeypatch.setenv("CEBCTL_DATA", "/data")
    monkeypatch.delenv("CEBCTL_SHARED", raising=False)
    resources = Resources(
        partition="gpu",
        nodes=2,
        gpus_per_node=4,
        gpu_type="a100",
        cpus=32,
        memory="64G",
        time="2:00:00",
        setup=("module load cuda",),
        directives=("comment=it's mine",),
    )
    array = sbatch.ArrayRequest("ceb-train", resources, [0, 1, 2, 5], 2, ["afterany:7"], ["n1", "n2"])
    script = sbatch._batch_script(Home(Path("/home/x")), Snapshot("d" * 16, Path("/code"), None), "sub", array)
    assert script.splitlines() == SCRIPT.splitlines()


def test_a_new_minor_version_of_submitit_is_refused() -> None:
    """Its private function may change in any: raise the bound together with the text above."""
    requirements = map(Requirement, metadata.requires("cebctl") or ())
    [submitit] = [requirement for requirement in requirements if requirement.name == "submitit"]
    assert submitit.specifier.contains(metadata.version("submitit"))
    minor = Version(metadata.version("submitit"))
    assert not submitit.specifier.contains(f"{minor.major}.{minor.minor + 1}")
