"""`submit --again` on a cluster: its generation through a requeue, and beside what waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from campaign import Campaign, link
from lab import Lab, eventually


def generations(campaign: Campaign, word: str = "0", stage: str = "train") -> list[int]:
    return [attempt[0].get("generation", 1) for attempt in campaign.records(word, stage)]


def running(lab: Lab) -> str:
    """The job that runs, once one does."""

    def job() -> str | None:
        rows: list[dict[str, Any]] = lab.squeue()
        return next((r["JobArrayID"] for r in rows if r["Name"].startswith("ceb-") and r["State"] == "RUNNING"), None)

    return str(eventually(job, 60))


def test_trained_again_through_a_requeue_and_measured_on_the_new_network(lab: Lab, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch()
    campaign = Campaign(lab, tmp_path, {"0": f"PAYLOAD_UNTIL: {go}", "1": "PAYLOAD_STEPS: 3"})
    assert campaign.submit().code == 0
    assert {run["state"] for run in campaign.ends().values()} == {"done"}
    old = sorted((campaign.run() / "checkpoints").iterdir())

    go.unlink()
    answer = campaign.submit("--again", "train", "--only", "seed = 0")
    assert answer.code == 0 and "submitted 1 x train to 1 Slurm array" in answer.err, answer.err
    campaign.begun(attempt=2, step=19)
    twice = campaign.submit("--again", "train", "--only", "seed = 0")
    assert twice.code == 0 and "nothing to submit, 1 run: 1 running" in twice.err, twice.err
    lab.run("scontrol", "requeue", running(lab))
    campaign.begun(attempt=3, step=19, seconds=120)
    go.touch()
    ended = campaign.ends()
    assert [run["state"] for run in ended.values()] == ["done", "done"]
    assert [stage["generation"] for stage in ended["0"]["stages"]] == [2]
    assert (generations(campaign), generations(campaign, "1")) == ([1, 2, 2], [1])
    assert campaign.types()[::2] == ["succeeded", "succeeded"] and campaign.link() == link(20)
    assert sorted((campaign.run() / "checkpoints").iterdir()) == old
    assert (campaign.run() / "checkpoints.2" / old[-1].name).exists(), "from nothing, to the same end"
    assert "nothing to submit" in campaign.submit().err
