"""The cluster's queue as it is remembered: one question for many looks, and nobody dead before the second miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from cebctl.status import slurm_queue
from experiments.errors import UnreachableError
from jobs.paths import Home
from jobs.slurm.client import TaskStatus

A, B = ("ceb-a", 0), ("ceb-a", 1)


class Cluster:
    """What a cluster would answer, and how often it was asked."""

    def __init__(self) -> None:
        self.now: dict[slurm_queue.Key, TaskStatus] = {}
        self.past: dict[slurm_queue.Key, TaskStatus] | None = None
        self.deaf = False
        """The accounting does not answer."""
        self.silent = False
        self.asked = 0

    def is_at(self, key: slurm_queue.Key, state: str) -> None:
        self.now[key] = TaskStatus(*key, f"7_{key[1]}", state)

    def queue(self, _names: object) -> list[TaskStatus]:
        self.asked += 1
        if self.silent:
            raise UnreachableError("Slurm", "no answer")
        return list(self.now.values())

    def accounted(self, _names: object) -> list[TaskStatus] | None:
        if self.deaf:
            raise UnreachableError("Slurm", "no slurmdbd")
        return None if self.past is None else list(self.past.values())


@pytest.fixture
def home(home: Path) -> Home:
    home.mkdir()
    return Home(home)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(slurm_queue.client, "query_squeue", cluster.queue)
    monkeypatch.setattr(slurm_queue.client, "query_sacct", cluster.accounted)
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "0")
    return cluster


def test_many_looks_are_one_question(home: Home, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "60")
    cluster.is_at(A, "RUNNING")
    for _ in range(5):
        assert slurm_queue.query_queue(home, {A}).tasks[A].state == "RUNNING"
    assert cluster.asked == 1
    slurm_queue.query_queue(home, {A, B})  # of something else it does ask
    assert cluster.asked == 2


def test_the_second_miss_counts(home: Home, cluster: Cluster) -> None:
    assert not slurm_queue.query_queue(home, {A}).is_forgotten(A)
    cluster.is_at(A, "PENDING")
    assert not slurm_queue.query_queue(home, {A}).is_forgotten(A)  # it was only late
    cluster.now.clear()
    assert [slurm_queue.query_queue(home, {A}).is_forgotten(A) for _ in range(3)] == [False, True, True]


def test_what_the_controller_forgot_the_accounting_knows(home: Home, cluster: Cluster) -> None:
    cluster.past = {A: TaskStatus(*A, "7_0", "TIMEOUT")}
    found = slurm_queue.query_queue(home, {A})
    assert found.tasks[A].description == "killed at its time limit" and not found.is_forgotten(A)


def test_what_only_the_accounting_calls_alive_is_forgotten(home: Home, cluster: Cluster) -> None:
    cluster.past = {A: TaskStatus(*A, "7_0", "RUNNING")}
    assert [slurm_queue.query_queue(home, {A}).is_forgotten(A) for _ in range(2)] == [False, True]


def test_accounting_that_is_silent_hides_nothing_else(home: Home, cluster: Cluster) -> None:
    cluster.is_at(A, "RUNNING")
    cluster.is_at(B, "RUNNING")
    slurm_queue.query_queue(home, {A, B})
    cluster.deaf = True
    cluster.is_at(A, "COMPLETED")
    del cluster.now[B]
    for _ in range(3):
        found = slurm_queue.query_queue(home, {A, B})
        assert (found.tasks[A].state, found.tasks[B].state) == ("COMPLETED", "RUNNING")
        assert not found.is_forgotten(B) and "no slurmdbd" in found.error


def test_who_looks_in_turns_asks_once_and_forgets_nothing(home: Home, cluster: Cluster, monkeypatch) -> None:
    cluster.is_at(A, "FAILED")
    cluster.is_at(B, "RUNNING")
    slurm_queue.query_queue(home, {A})
    cluster.now.pop(A)
    slurm_queue.query_queue(home, {B})
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "60")
    for _ in range(3):
        assert slurm_queue.query_queue(home, {A}).tasks[A].is_final
        assert slurm_queue.query_queue(home, {B}).tasks[B].state == "RUNNING"
    assert cluster.asked == 2


def test_an_end_that_was_seen_is_remembered(home: Home, cluster: Cluster) -> None:
    cluster.is_at(A, "FAILED")
    slurm_queue.query_queue(home, {A})
    cluster.now.clear()
    assert slurm_queue.query_queue(home, {A}).tasks[A].is_final


def test_silence_changes_nothing(home: Home, cluster: Cluster) -> None:
    cluster.is_at(A, "RUNNING")
    slurm_queue.query_queue(home, {A, B})
    cluster.silent = True
    for _ in range(3):
        found = slurm_queue.query_queue(home, {A, B})
        assert found.tasks[A].state == "RUNNING" and not found.is_forgotten(B) and "no answer" in found.error


@pytest.mark.parametrize("content", [b"", b"{torn", b'{"asked": "x"}', b"[]"])
def test_a_damaged_memory_is_none(home: Home, cluster: Cluster, content: bytes) -> None:
    home.queue.write_bytes(content)
    cluster.is_at(A, "RUNNING")
    assert slurm_queue.query_queue(home, {A}).tasks[A].state == "RUNNING"


def test_looking_may_leave_no_trace(home: Home, cluster: Cluster) -> None:
    slurm_queue.query_queue(home, {A}, remember=False)
    assert not home.queue.exists()


def test_a_clock_that_went_back_is_no_reason_to_believe(home: Home, cluster: Cluster, monkeypatch) -> None:
    monkeypatch.setenv("CEBCTL_SLURM_SECONDS", "60")
    cluster.is_at(A, "RUNNING")
    slurm_queue.query_queue(home, {A})
    monkeypatch.setattr(slurm_queue.time, "time", lambda: 0.0)
    slurm_queue.query_queue(home, {A})
    assert cluster.asked == 2
