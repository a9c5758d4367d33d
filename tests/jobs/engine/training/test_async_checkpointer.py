"""Checkpoints on slow and failing disks: training goes on, the journal says what it waits for, and nothing is lost."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from experiments import spec
from experiments.errors import InputError
from jobs.engine import checkpoint_format
from jobs.engine.training import async_checkpointer
from jobs.engine.training.loop import train
from jobs.errors import Stopped
from jobs.journal.files import Journal, read
from jobs.journal.records import AnyRecord, Checkpointed, Heartbeat, Metrics
from jobs.paths import RunPaths
from tests.jobs.engine.training.test_resume import assert_same, to_the_end

STEPS = 24
SOON = 1e-9
"""Seconds between checkpoints: one is due as soon as the one before is written."""


class Disk:
    """A disk whose fsync, for checkpoints, lasts until it is let go."""

    def __init__(self) -> None:
        self.may_end, self.waits = threading.Event(), 0
        self._fsync = os.fsync

    def fsync(self, fd: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.waits += 1
            assert self.may_end.wait(60)
        self._fsync(fd)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("os.fsync", disk.fsync)
    yield disk
    disk.may_end.set()


def from_step(number: int, then: Callable[[], object]) -> Callable[[], bool]:
    """A `should_stop` that never asks to, and does something after so many steps."""
    steps = iter(range(1, 1_000))

    def ask() -> bool:
        if next(steps) == number:
            then()
        return False

    return ask


def saved(records: list[AnyRecord]) -> list[int]:
    return [record.step for record in records if isinstance(record, Checkpointed)]


def test_training_goes_on_while_a_checkpoint_is_written(
    attempt: Any, tiny: spec.Run, slow_disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    def look() -> None:
        assert slow_disk.waits == 1, "the next one waits for the first, and training for neither"
        assert not list(attempt.paths.checkpoints.glob("*.pt"))
        slow_disk.may_end.set()

    with caplog.at_level(logging.WARNING):
        records = attempt(tiny, from_step(17, look), SOON)
    kinds = [(type(record), record.step) for record in records if isinstance(record, Checkpointed | Metrics)]
    assert kinds.index((Metrics, 14)) < kinds.index((Checkpointed, 1)), "the copy of step 1, on the disk after step 14"
    assert saved(records)[-1] == STEPS
    assert "checkpoint of step 1 took" in caplog.text and "the file system is slow" in caplog.text
    first = next(record for record in records if isinstance(record, Checkpointed))
    assert first.held_seconds < first.seconds


def test_what_was_copied_is_the_state_of_its_step(new_attempt: Any, tiny: spec.Run, slow_disk: Disk) -> None:
    late = new_attempt("late")

    def stop_once_written() -> None:
        slow_disk.may_end.set()
        while not list(late.paths.checkpoints.glob("*.pt")):
            time.sleep(0.001)
        raise KeyboardInterrupt  # stands for SIGKILL: nothing is saved any more

    with pytest.raises(KeyboardInterrupt):
        late(tiny, from_step(9, stop_once_written), SOON)
    assert checkpoint_format.load_model(tiny, late.paths.checkpoints).step == 1
    assert_same(to_the_end(late, tiny), to_the_end(new_attempt("whole"), tiny))


@pytest.mark.parametrize("last", [5, STEPS], ids=["a pause", "the end"])
def test_it_ends_behind_its_last_checkpoint_and_says_what_it_waits_for(
    attempt: Any, tiny: spec.Run, slow_disk: Disk, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    monkeypatch.setattr("jobs.engine.heartbeats.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(async_checkpointer, "POLL_SECONDS", 0.01)
    waiting = f"waiting for the checkpoint of step {last}"
    journal = attempt.paths.journal("train", 1)

    def let_go_once_it_is_named() -> None:
        while not (journal.exists() and waiting in journal.read_text()):
            time.sleep(0.001)
        slow_disk.may_end.set()

    helper = threading.Thread(target=let_go_once_it_is_named)
    helper.start()
    steps = iter(range(1, STEPS))
    try:
        attempt(tiny, lambda: next(steps, None) == last)
    except Stopped:
        assert last < STEPS
    helper.join()
    records = read(journal).records
    assert saved(records) == [last]
    assert waiting in {record.activity for record in records if isinstance(record, Heartbeat)}
    assert checkpoint_format.load_model(tiny, attempt.paths.checkpoints).step == last


def test_a_write_that_takes_its_time_is_named_in_the_heartbeats(
    attempt: Any, tiny: spec.Run, slow_disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.engine.heartbeats.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(async_checkpointer, "REPORTED_AFTER_SECONDS", 0.0)
    records = attempt(tiny, from_step(17, slow_disk.may_end.set), SOON)
    activities = [record.activity for record in records if isinstance(record, Heartbeat) and record.step < 17]
    assert activities[1:] and all("writing the checkpoint of step 1 for" in activity for activity in activities[1:])


def test_a_journal_that_takes_its_time_is_named_too(
    attempt: Any, tiny: spec.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.engine.heartbeats.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr("jobs.engine.heartbeats.JOURNAL_SECONDS", 0.05)
    fsync = os.fsync
    monkeypatch.setattr("os.fsync", lambda fd: time.sleep(0.06) or fsync(fd))
    records = attempt(tiny, from_step(999, lambda: None), 0.0)
    beats = [record.activity for record in records if isinstance(record, Heartbeat)]
    assert beats[-1].startswith("training, held up for 0 s by writing the journal")


def test_what_the_disk_refuses_ends_the_training(attempt: Any, tiny: spec.Run) -> None:
    attempt.paths.folder.mkdir()
    attempt.paths.checkpoints.write_text("a file where the folder should be")
    steps = iter(range(1_000))
    with pytest.raises(InputError, match="checkpoints: is not a folder"):
        attempt(tiny, lambda: next(steps) < 0, 0.0)
    assert next(steps) <= 3


def test_a_run_that_fails_keeps_the_checkpoint_that_was_under_way(
    attempt: Any, tiny: spec.Run, slow_disk: Disk
) -> None:
    def fail() -> None:
        threading.Timer(0.05, slow_disk.may_end.set).start()
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        attempt(tiny, from_step(6, fail), SOON)
    assert saved(read(attempt.paths.journal("train", 1)).records) == [1]
    assert checkpoint_format.load_model(tiny, attempt.paths.checkpoints).step == 1


def test_killed_while_one_is_written_the_one_before_counts(new_attempt: Any, tiny: spec.Run, slow_disk: Disk) -> None:
    killed = new_attempt("killed")
    paths: RunPaths = killed.paths

    def hold_the_next() -> None:
        while not list(paths.checkpoints.glob("000000008.*.pt")):
            time.sleep(0.001)
        slow_disk.may_end.clear()

    slow_disk.may_end.set()
    child = os.fork()
    if child == 0:
        with Journal(paths.journal("train", 9)) as journal:
            train(tiny, paths, journal, paths.folder, "cpu", from_step(9, hold_the_next), 0.0)
        os._exit(1)
    while not list(paths.checkpoints.glob(".000000009.*.part")):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert checkpoint_format.load_model(tiny, paths.checkpoints).step == 8
    assert_same(to_the_end(killed, tiny), to_the_end(new_attempt("whole"), tiny))
