"""The lab itself: it does what a cluster does, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import IMPATIENT, INSTALL, Lab, LabError, Settings, eventually, missing

MakeLab = Callable[..., Lab]
HERE = Path(__file__).parent
DEBIANS_PYTHON = Path("/usr/bin/python3")  # readable for every user
needs_slurm = pytest.mark.skipif(bool(missing(accounting=True)), reason=f"needs a real Slurm: {INSTALL}")


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_an_array_gets_gpus_of_its_own(lab: Lab, tmp_path: Path) -> None:
    job = lab.sbatch(f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/$SLURM_ARRAY_TASK_ID", "--array=0-3", "--gres=gpu:3")
    for element in range(4):
        lab.becomes(f"{job}_{element}", "COMPLETED")
    seen = [(tmp_path / str(element)).read_text() for element in range(4)]
    assert {len(devices.strip().split(",")) for devices in seen} == {3}
    with pytest.raises(LabError, match="Requested node configuration is not available"):
        lab.sbatch("true", "--gres=gpu:9")


def test_a_job_fails_as_it_should(lab: Lab) -> None:
    lab.becomes(lab.sbatch("exit 3"), "FAILED")


def test_a_job_gives_way_to_one_with_priority(make_lab: MakeLab) -> None:
    lab = make_lab(nodes=1)
    weak = lab.sbatch("sleep 60", "--partition=scavenge", "--gres=gpu:8")
    lab.becomes(weak, "RUNNING")
    strong = lab.sbatch("sleep 60", "--gres=gpu:8")
    lab.becomes(strong, "RUNNING")
    assert next(row for row in lab.squeue() if row["JobArrayID"] == weak)["RestartCnt"] == "1"
    lab.run("scancel", strong)
    lab.becomes(weak, "RUNNING")


def test_accounting_remembers(lab_accounting: Lab) -> None:
    job = lab_accounting.sbatch("exit 3", "--job-name=remembered")
    ended = {"JobName": "remembered", "State": "FAILED", "ExitCode": "3:0"}
    eventually(lambda: [ended.items() <= row.items() for row in lab_accounting.sacct("-j", job)] == [True])


def test_a_frozen_controller_takes_a_job_nobody_knows_of(make_lab: MakeLab) -> None:
    lab = make_lab(nodes=1, conf={"MessageTimeout": 2})
    lab.freeze("slurmctld")
    with pytest.raises(LabError, match="timed out"):
        lab.sbatch("true", "--job-name=ghost")
    lab.thaw("slurmctld")
    assert eventually(lambda: [row["State"] for row in lab.squeue() if row["Name"] == "ghost"])


def test_jobs_outlive_their_controller(make_lab: MakeLab) -> None:
    lab = make_lab(nodes=1)
    job = lab.sbatch("sleep 60")
    lab.becomes(job, "RUNNING")
    lab.restart_controller()
    lab.becomes(job, "RUNNING")
    lab.stop("slurmctld", signal.SIGKILL)
    with pytest.raises(LabError, match="Unable to contact slurm controller"):
        lab.squeue()
    lab.start("slurmctld")
    lab.becomes(job, "RUNNING")


@pytest.mark.parametrize("dies", [True, False], ids=["dead", "cut-off"])
def test_a_lost_nodes_job_starts_elsewhere(make_lab: MakeLab, tmp_path: Path, dies: bool) -> None:
    lab = make_lab(nodes=2, conf=IMPATIENT)
    script = f"echo $$ > {tmp_path}/${{SLURM_RESTART_COUNT:-0}}; sleep 1000"
    job = lab.sbatch(script, "--requeue")
    first = int(eventually(lambda: _text(tmp_path / "0")))
    node = next(row["NodeList"] for row in lab.squeue() if row["JobArrayID"] == job)
    lab.kill_node(node) if dies else lab.freeze(node)
    second = int(eventually(lambda: _text(tmp_path / "1"), seconds=60))
    assert alive([first, second]) == ([second] if dies else [first, second])
    lab.thaw(node) if not dies else lab.start(node)
    eventually(lambda: "idle" in lab.run("sinfo", "-h", "-N", "-n", node, "-o", "%T"))
    assert alive([first, second]) == [second]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_labs_side_by_side(lab: Lab, make_lab: MakeLab) -> None:
    other = make_lab(nodes=1, gpus=2, gpu_type="a100", ip_names=True)
    job = other.sbatch("sleep 60", "--gres=gpu:a100:2")
    other.becomes(job, "RUNNING")
    assert [row["NodeList"] for row in other.squeue()] == ["127.0.0.11"]
    assert job not in lab.states()


OWNER = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from lab import IMPATIENT, Lab, Settings, eventually
lab = Lab(Settings(nodes=2))
lab.sbatch("trap '' TERM INT HUP; setsid sleep 1000 & sleep 1000")
eventually(lambda: "RUNNING" in lab.states().values())
lab.freeze("n2")
eventually(lambda: len(lab.pids()) >= 7)  # the keeper, four daemons, a slurmstepd and its job
print(lab.folder, *lab.pids(), flush=True)
sys.stdin.read()
"""


@needs_slurm
def test_nothing_outlives_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    folder, *numbers = owner.stdout.readline().split()
    pids = list(map(int, numbers))
    assert len(alive(pids)) >= 7
    owner.kill()
    owner.communicate()
    eventually(lambda: not alive(pids))
    eventually(lambda: not Path(folder).exists())


@needs_slurm
def test_a_lab_that_does_not_come_up_says_why() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        with pytest.raises(LabError, match="NoSuchKey"):
            Lab(Settings(nodes=1, conf={"NoSuchKey": 1}), Path(name) / "lab")
        assert not list(Path(name).iterdir())


@needs_slurm
@pytest.mark.skipif(os.getuid() != 0 or not DEBIANS_PYTHON.exists(), reason="only root can be somebody else")
def test_the_command_line_as_a_plain_user() -> None:
    """Which asks more of accounting than of the rest: MariaDB and slurmdbd have habits of root's."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="eve-") as name:
        folder = Path(name)
        for module in HERE.glob("*.py"):
            shutil.copy(module, folder)
        shutil.chown(folder, "nobody", "nogroup")

        def call(*command: str | Path, **extra: str) -> str:
            nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            env = {"PATH": os.environ["PATH"], **extra}
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, **nobody)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        lab_py, lab = folder / "lab.py", folder / "lab"
        said = call(DEBIANS_PYTHON, lab_py, "up", "--dir", lab, "--accounting", "--nodes", "1")
        try:
            assert said == f"export SLURM_CONF={lab}/etc/slurm.conf"
            who = call("srun", "id", "--user", "--name", SLURM_CONF=f"{lab}/etc/slurm.conf")
            assert who == "nobody"
        finally:
            call(DEBIANS_PYTHON, lab_py, "down", "--dir", lab)
        assert not lab.exists()
