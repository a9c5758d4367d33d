from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from jobs.attempt import lease
from jobs.errors import HomeGoneError
from jobs.paths import RunPaths
from jobs.processes import Process


def test_one_holder_at_a_time(paths: RunPaths) -> None:
    first = lease.acquire(paths.lease("train"))
    assert first is not None
    first.write_holder(1)
    assert lease.acquire(paths.lease("train")) is None
    assert lease.is_held(paths.lease("train")) is True
    first.release()
    assert lease.acquire(paths.lease("train")) is not None


def test_a_killed_holder_gives_it_up(paths: RunPaths) -> None:
    path = paths.lease("train")
    child = os.fork()
    if child == 0:
        taken = lease.acquire(path)
        if taken:
            taken.write_holder(7)
        time.sleep(60)
        os._exit(0)
    while (holder := lease.read_holder(path)) is None:
        time.sleep(0.01)
    assert holder.attempt == 7
    assert lease.acquire(path) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert lease.is_held(path) is False
    assert lease.acquire(path) is not None


def test_an_older_attempt_sees_the_newer_one(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_CHECK_SECONDS", 0.0)
    held = lease.acquire(paths.lease("train"))
    assert held is not None
    held.write_holder(1)
    assert not held.is_superseded()
    paths.lease("train").write_text('{"attempt": 2, "process": "elsewhere/b/1/1"}')
    assert held.is_superseded()
    assert lease.is_held(paths.lease("train")) is None  # another machine: it can't be known


def test_no_lease_is_held_by_nobody(paths: RunPaths) -> None:
    assert lease.is_held(paths.lease("train")) is False
    paths.folder.mkdir(parents=True)
    paths.lease("train").write_text("{torn")
    assert lease.is_held(paths.lease("train")) is False


def test_a_process_is_more_than_its_number() -> None:
    me = Process.current()
    assert me.is_alive() is True
    assert Process.parse(str(me)) == me
    assert Process(me.host, me.boot, me.pid, me.started + 1).is_alive() is False
    assert Process(me.host, "another boot", me.pid, me.started).is_alive() is False
    assert Process("another host", me.boot, me.pid, me.started).is_alive() is None
    assert Process.parse("12345") is None


def test_a_zombie_has_ended() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    deadline = time.monotonic() + 10
    while Process.from_pid(child) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Process.from_pid(child) is None
    os.waitpid(child, 0)


def test_a_newer_start_takes_it_from_a_holder_that_lives(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_CHECK_SECONDS", 0.0)
    path = paths.lease("train")
    old = lease.acquire(path)
    assert old is not None
    old.write_holder(1, "s1", 0)
    assert lease.acquire(path, lambda holder: holder.start_order > ("s1", 0)) is None
    new = lease.acquire(path, lambda holder: holder.start_order < ("s1", 1))
    assert new is not None
    new.write_holder(2, "s1", 1)
    assert old.is_superseded() and not new.is_superseded()
    assert lease.acquire(path, lambda holder: holder.start_order < ("s1", 1)) is None  # once, not in turn
    old.release()
    assert lease.acquire(path) is None  # the newer one holds it still


def test_an_attempt_ends_when_its_home_is_gone(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_CHECK_SECONDS", 0.0)
    held = lease.acquire(paths.lease("train"))
    assert held is not None
    held.write_holder(1)
    assert not held.is_superseded()
    shutil.rmtree(paths.home.folder)
    assert not held.is_superseded()  # a network file system may miss it for a moment
    with pytest.raises(HomeGoneError, match="was removed while its job ran"):
        held.is_superseded()


def test_an_attempt_writes_nothing_into_a_new_home_in_its_place(paths: RunPaths) -> None:
    held = lease.acquire(paths.lease("train"))
    assert held is not None
    held.write_holder(1)
    shutil.rmtree(paths.home.folder)
    paths.folder.mkdir(parents=True)
    paths.lease("train").write_text('{"attempt": 1, "process": "elsewhere/b/1/1"}')
    with pytest.raises(HomeGoneError):
        held.is_taken_over()
