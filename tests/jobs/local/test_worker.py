"""A worker notes the death of its own child, and touches nothing of attempts that others began."""

from __future__ import annotations

import os

import pytest

from jobs.attempt import runner
from jobs.journal.files import Journal
from jobs.journal.records import Started, Submitted
from jobs.local.worker import _newest_journal
from jobs.paths import Home


def submitted(name: str) -> Submitted:
    return Submitted(name=name, matrix="", matrix_path="", executor="local", code="c")


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_only_an_attempt_of_its_own_child_is_found(home: Home, stage: str) -> None:
    paths, host, pid = Home(home).run("r1"), runner.host_name(), os.getpid()
    others = [("s1", host, pid + 1), ("s1", "node9", pid), ("s2", host, pid)]
    for attempt, (submission, machine, process) in enumerate(others, 1):
        with Journal(paths.journal(stage, attempt)) as journal:
            journal.write(Started(submission=submission, host=machine, pid=process))
    assert _newest_journal(Home(home), "r1", submitted("s1"), pid) is None
    own = paths.journal(stage, 2 + len(others))
    with Journal(own) as journal:
        journal.write(Started(submission="s1", host=host, pid=pid))
    with Journal(paths.journal(stage, 3 + len(others))):  # begun by another meanwhile, without a record yet
        pass
    assert _newest_journal(Home(home), "r1", submitted("s1"), pid) == own
