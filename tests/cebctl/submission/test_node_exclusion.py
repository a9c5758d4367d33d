"""Which nodes jobs are kept from, and which are only unlucky."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

import pytest

from cebctl.submission import node_exclusion
from cebctl.submission.node_exclusion import nodes_to_exclude
from store.row_types import AttemptRow

NODES = [f"n{i}" for i in range(8)]
NOW = time.time()


def job(run: str, host: str, state: str, ago: float = 100, attempt: int = 1) -> AttemptRow:
    """An attempt that ended some seconds ago."""
    known: dict[str, Any] = {"run_id": run, "stage": "train", "host": host, "state": state, "attempt": attempt}
    known |= {"updated_at": NOW - ago, "started_at": NOW - ago - 10, "executor_job": "1_0"}
    return AttemptRow(**dict.fromkeys(field.name for field in fields(AttemptRow)) | known)


DEATHS = [job(f"r{i}", "n1", "died", ago=300 - i) for i in range(3)]
VANISHED = [job(f"r{i}", "n1", "started") for i in range(3)]
ELSEWHERE = [job(f"s{i}", "n2", "succeeded") for i in range(3)]


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        ([*DEATHS, *ELSEWHERE], ["n1"]),
        ([*DEATHS[:2], *ELSEWHERE], []),
        ([*DEATHS, *ELSEWHERE[:2]], []),  # perhaps the runs are at fault
        ([job("r0", "n1", "died", attempt=i) for i in range(1, 9)] + ELSEWHERE, []),  # one run only
        ([*DEATHS, job("r9", "n1", "succeeded", ago=50), *ELSEWHERE], []),  # it works again
        ([*DEATHS, *[job(f"s{i}", "n2", "succeeded", ago=9000) for i in range(3)]], []),  # that was before
        ([*[job(f"r{i}", "n1", "died", ago=8 * 86_400) for i in range(3)], *ELSEWHERE], []),  # long ago
        ([job(f"r{i}", "n1", "failed") for i in range(9)] + ELSEWHERE, []),  # errors are the runs' own
        ([job(f"r{i}", "n1", "preempted") for i in range(9)] + ELSEWHERE, []),
        # Without a word, and done by another attempt; one that has none may be at work.
        ([*VANISHED, *[job(f"r{i}", "n2", "succeeded", attempt=2) for i in range(3)]], ["n1"]),
        ([*VANISHED, *ELSEWHERE], []),
        ([*DEATHS, *ELSEWHERE, *[job(f"t{i}", "gone", "died") for i in range(9)]], ["n1"]),  # no node of the cluster
    ],
)  # fmt: skip
def test_suspects(monkeypatch: pytest.MonkeyPatch, jobs: list[AttemptRow], found: list[str]) -> None:
    ordered = sorted(jobs, key=lambda row: (row.run_id, row.stage, row.attempt))
    monkeypatch.setattr(node_exclusion.queries, "attempts", lambda store: ordered)
    assert list(nodes_to_exclude(None, NODES)) == found  # type: ignore[arg-type]


def test_most_of_a_cluster_is_never_kept_from(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [job(f"{host}-{i}", host, "died", ago=300) for host in NODES[:6] for i in range(3 + int(host[1]))]
    good = [job(f"s{i}", "n7", "succeeded") for i in range(20)]
    monkeypatch.setattr(
        node_exclusion.queries, "attempts", lambda store: sorted(bad + good, key=lambda row: row.run_id)
    )
    assert list(nodes_to_exclude(None, NODES)) == ["n5", "n4"]  # type: ignore[arg-type]
    assert nodes_to_exclude(None, ["n5"]) == {}  # type: ignore[arg-type]
