"""Runs of several tasks on a real Slurm, trained and evaluated by the real engine: over gloo, as there is no GPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign import Campaign
from lab import Lab, eventually

from experiments.matrix.load import load
from jobs.journal.files import Journal, read
from jobs.journal.records import Metrics
from jobs.paths import RunPaths

MakeLab = Callable[..., Lab]
MATRIX = """
base: {{data: digits, network: {{name: small_cnn, width: 4, z_dim: 4}}, optimiser: adam, epochs: {epochs}, batch: 256,
       precision: fp64}}
grids: [{{objective: ceb, rho: 1}}]
evaluate: [clean, {{pgd: {{norm: linf, eps: 0.1, steps: 2}}}}]
resources: {{train: {{{resources}, memory: 2G}}, evaluate: {{{resources}, memory: 2G}}}}
"""


def of_two_tasks(lab: Lab, folder: Path, epochs: int, resources: str) -> Campaign:
    campaign = Campaign(lab, folder)
    campaign.matrix.write_text(MATRIX.format(epochs=epochs, resources=resources))
    return campaign


def values(metrics: dict[str, Any]) -> dict[str, float]:
    timed = ("images_per_second", "data_wait_share", "memory_mb")
    return {name: value for name, value in metrics.items() if name not in timed}


def trained_here(matrix: Path, folder: Path) -> list[dict[str, float]]:
    """What one process learns of the run of the matrix: its metrics."""
    from jobs.engine.training.loop import train

    paths = RunPaths(folder)
    with Journal(paths.journal("train", 1)) as journal:
        train(load(matrix).runs[0].run, paths, journal, folder, "cpu", lambda: False)
    records = read(paths.journal("train", 1)).records
    return [values(record.values) for record in records if isinstance(record, Metrics)]


def process_of_rank(campaign: Campaign, rank: int) -> int | None:
    """The process that Slurm started as this task of the campaign, by its environment."""
    wanted = {f"SLURM_PROCID={rank}".encode(), f"CEBCTL_HOME={campaign.folder / 'home'}".encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = set((folder / "environ").read_bytes().split(b"\0"))
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted <= variables and b"jobs.slurm.array_task" in command and b"--ended" not in command:
            return int(folder.name)
    return None


@pytest.mark.parametrize("resources", ["gpus_per_node: 2, cpus_per_gpu: 1", "nodes: 2"], ids=["two GPUs", "two nodes"])
def test_two_tasks_learn_what_one_process_learns(make_lab: MakeLab, tmp_path: Path, resources: str) -> None:
    campaign = of_two_tasks(make_lab(nodes=2, ip_names=True), tmp_path / "two", 3, resources)
    answer = campaign.submit()
    assert answer.code == 0, answer.err
    assert campaign.ends()["0"]["state"] == "done", campaign.status()["0"]
    (attempt,) = campaign.records()
    found = [values(record["values"]) for record in attempt if record["type"] == "metrics"]
    expected = trained_here(campaign.matrix, tmp_path / "one")
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert {path.name for path in (campaign.run() / "logs").iterdir()} == {
        f"{stage}.1.{name}" for stage in ("train", "evaluate") for name in ("log", "rank1.log")
    }
    (evaluation,) = campaign.records(stage="evaluate")
    assert [record["type"] for record in evaluation].count("result") == 2


def test_a_task_that_is_killed_ends_the_job_and_the_run_goes_on(make_lab: MakeLab, tmp_path: Path) -> None:
    campaign = of_two_tasks(make_lab(ip_names=True), tmp_path, 300, "gpus_per_node: 2, cpus_per_gpu: 1")
    campaign.submit()
    campaign.begun(step=20)
    pid = process_of_rank(campaign, 1)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert campaign.ends()["0"]["state"] == "lost", campaign.status()["0"]
    assert eventually(lambda: process_of_rank(campaign, 0) is None)
    assert campaign.types() == ["died"]
    assert campaign.submit().code == 0
    assert campaign.ends(240)["0"]["state"] == "done", campaign.status()["0"]
    assert campaign.types() == ["died", "succeeded"]


def test_a_pause_is_a_pause_of_all_tasks(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(ip_names=True)
    campaign = of_two_tasks(lab, tmp_path, 200, "gpus_per_node: 2, cpus_per_gpu: 1")
    campaign.submit()
    campaign.begun(step=20)
    lab.run("scancel", "--signal=USR2", next(row["JobArrayID"] for row in lab.squeue() if row["State"] == "RUNNING"))
    assert campaign.ends(240)["0"]["state"] == "done", campaign.status()["0"]
    assert campaign.types() == ["preempted", "succeeded"]
    assert campaign.records()[0][-1]["reason"] == "preempted"  # there is time left, so that it is no time limit
    assert "Traceback" not in "".join(path.read_text() for path in (campaign.run() / "logs").iterdir())
