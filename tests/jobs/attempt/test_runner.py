"""The journal of an attempt, whatever its work does; the work here is a plain function, without torch."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from experiments.errors import InputError
from jobs import provenance
from jobs.attempt import lease
from jobs.attempt.runner import JobStart, run_attempt
from jobs.errors import PeerLostError, Stopped
from jobs.journal.files import Journal, read
from jobs.journal.history import is_trained
from jobs.journal.records import AnyRecord, Checkpointed, Claim, Died, Failed, Preempted, Started, Submitted, Succeeded
from jobs.paths import Home, RunPaths


@pytest.fixture
def run(tmp_path) -> Callable[..., list[AnyRecord]]:
    home = Home(tmp_path)
    claim = Claim(run_id="r1", label="", stage="train", spec={})

    def run(work: Callable[[], None], submission: str = "s1", code: str | None = None) -> list[AnyRecord]:
        submitted = Submitted(
            name=submission, matrix="", matrix_path="", executor="local", code=code or provenance.code_digest()
        )
        run_attempt(home, submitted, claim, "train", lambda *_: work())
        paths = home.run("r1")
        return [record for n in paths.attempts("train") for record in read(paths.journal("train", n)).records]

    return run


def _raise(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def _ends(records: list[AnyRecord]) -> list[type]:
    return [type(record) for record in records if not isinstance(record, Started)]


def test_success_is_its_last_line(run) -> None:
    records = run(lambda: None)
    assert [type(record) for record in records] == [Started, Succeeded]
    assert records[0].submission == "s1" and records[0].engine == provenance.engine_digest()
    assert records[0].libraries == provenance.library_versions() and records[0].libraries["opencv-python-headless"]


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (InputError("data", "truncated"), "input", "data: truncated"),
        (ZeroDivisionError("division by zero"), "error", "ZeroDivisionError: division by zero"),
        (OutOfMemoryError("CUDA out of memory"), "memory", "OutOfMemoryError: CUDA out of memory"),
        (MemoryError(), "memory", "MemoryError"),
    ],
)
def test_a_failure_says_what_and_of_which_kind(run, error: Exception, kind: str, text: str) -> None:
    last = run(_raise(error))[-1]
    assert isinstance(last, Failed)
    assert (last.kind, last.error) == (kind, text)


def test_a_stop_is_no_end(run) -> None:
    assert _ends(run(_raise(Stopped()))) == [Preempted]


def test_a_stop_that_another_process_heard_is_not_taken_for_a_newer_attempt(run) -> None:
    assert [record.reason for record in run(_raise(Stopped())) if isinstance(record, Preempted)] == [""]


def test_the_loss_of_another_process_is_a_death_and_no_failure(run) -> None:
    last = run(_raise(PeerLostError("another process is gone")))[-1]
    assert isinstance(last, Died) and last.reason == "another process is gone"


def test_a_submission_tries_once_and_the_next_one_again(run) -> None:
    assert _ends(run(_raise(ValueError("no")))) == [Failed]
    assert _ends(run(lambda: None)) == [Failed]
    assert _ends(run(lambda: None, "s2")) == [Failed, Succeeded]


def test_an_attempt_that_never_was_leaves_no_log(tmp_path) -> None:
    """Output goes into the log of an attempt once there is one: in a child, whose output it is."""
    paths, claim = Home(tmp_path).run("r1"), Claim(run_id="r1", label="", stage="train", spec={})
    code = provenance.code_digest()
    submitted = Submitted(name="s1", matrix="", matrix_path="", executor="local", code=code)

    def attempt_in_child() -> None:
        child = os.fork()
        if child == 0:
            start = JobStart(owns_output=True)
            run_attempt(paths.home, submitted, claim, "train", lambda *_: os.write(1, b"at work"), start)
            os._exit(0)
        os.waitpid(child, 0)

    held = lease.acquire(paths.lease("train"))
    assert held
    attempt_in_child()
    assert not list(paths.log("train", 1).parent.glob("*"))
    held.release()
    attempt_in_child()
    assert "at work" in paths.log("train", 1).read_text()


def test_code_that_changed_since_submission_stops_the_job(run) -> None:
    last = run(lambda: None, code="0123")[-1]
    assert isinstance(last, Failed)
    assert last.kind == "code" and "0123" in last.error


def test_nothing_happens_while_another_attempt_holds_the_lease(run, tmp_path) -> None:
    held = lease.acquire(Home(tmp_path).run("r1").lease("train"))
    assert held is not None
    assert run(lambda: None) == []


def test_trained_goes_by_the_newest_terminal_record(paths: RunPaths) -> None:
    assert not is_trained(paths)
    for attempt, record in enumerate([Failed(error=""), Succeeded(), Checkpointed(step=1, file="", seconds=0)], 1):
        with Journal(paths.journal("train", attempt)) as journal:
            journal.write(record)
    assert is_trained(paths)
