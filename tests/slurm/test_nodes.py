"""A node on which runs die is named, and no further job goes there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from campaign import Campaign
from lab import Lab

MakeLab = Callable[..., Lab]


def test_a_node_that_kills_is_kept_from(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=4, conf={"TaskProlog": f"{tmp_path}/prolog"})
    prolog = tmp_path / "prolog"
    prolog.write_text('#!/bin/sh\n[ "$SLURMD_NODENAME" = n1 ] && echo "export PAYLOAD_FAULT=kill"\nexit 0\n')
    prolog.chmod(0o755)
    words = {f"bad{i}": "directives: [nodelist=n1]" for i in range(3)}
    campaign = Campaign(lab, tmp_path / "c", words | {f"good{i}": "directives: [exclude=n1]" for i in range(3)})
    campaign.submit()
    ended = campaign.ends()
    assert {word: run["state"] for word, run in ended.items()} == {w: "lost" if "bad" in w else "done" for w in ended}
    again = campaign.submit()
    newest = max((tmp_path / "c/home/workers").iterdir())
    assert all("#SBATCH --exclude=n1" in script.read_text() for script in newest.glob("*.sh"))
    assert "no job goes to n1: 3 runs in a row died on it while others succeeded elsewhere" in again.err
