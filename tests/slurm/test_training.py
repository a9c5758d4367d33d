"""Real training under the two commonest faults of a cluster: its numbers are those of an undisturbed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign import Campaign
from lab import IMPATIENT, Lab

MakeLab = Callable[..., Lab]

MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 8, z_dim: 8}, optimiser: adam, batch: 32}
grids: [{objective: ceb, rho: 1, epochs: 25}]
evaluate: [clean, information, pgd: {norm: linf, eps: 0.1, steps: 5, subset: 100}]
resources:
  train: {gpus_per_node: 1, memory: 900M, partition: scavenge}
  evaluate: {memory: 900M}
"""

TIMED = ("images_per_second", "data_wait_share", "memory_mb")


def numbers(campaign: Campaign) -> dict[str, Any]:
    """Every metric by its step, as last measured, and every result."""
    found: dict[str, Any] = {}
    for stage in ("train", "evaluate"):
        for record in (record for attempt in campaign.records("0", stage) for record in attempt):
            if record["type"] == "metrics":
                values = {k: v for k, v in record["values"].items() if k not in TIMED}
                found[f"{stage} {record['step']}"] = values
            if record["type"] == "result":
                found[record["evaluation_id"]] = record["measures"]
    return found


def test_preempted_and_its_node_lost_it_ends_with_undisturbed_numbers(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=2, gpus=1, conf=IMPATIENT | {"SlurmdTimeout": 10, "KillWait": 15})
    disturbed, undisturbed = (Campaign(lab, tmp_path / name) for name in ("disturbed", "undisturbed"))
    for campaign in (undisturbed, disturbed):
        campaign.matrix.write_text(MATRIX)
    assert undisturbed.submit().code == 0
    assert undisturbed.ends(240)["0"]["state"] == "done"

    assert disturbed.submit().code == 0
    disturbed.begun(step=300, seconds=200)
    lab.run("sbatch", "--array=0-1", "--gres=gpu:1", "--wrap", "sleep 2", "--output=/dev/null")
    disturbed.begun(attempt=2, step=400, seconds=200)
    node = next(row["NodeList"] for row in lab.squeue() if row["Name"].startswith("ceb-") and row["State"] == "RUNNING")
    lab.kill_node(node)
    assert disturbed.ends(280)["0"]["state"] == "done", disturbed.status()
    assert disturbed.types() == ["preempted", disturbed.records()[1][-1]["type"], "succeeded"]
    checkpoints = [record["step"] for record in disturbed.records()[0] if record["type"] == "checkpointed"]
    resumed = next(record for record in disturbed.records()[2] if record["type"] == "resumed")
    assert resumed["step"] >= checkpoints[-1] > 0
    assert numbers(disturbed) == numbers(undisturbed)
