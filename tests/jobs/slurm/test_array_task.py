"""What an element decides from its journals alone: to begin, to refuse, to start again, to give up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from experiments.lineage import parent_id
from experiments.resources import Resources, Retries
from experiments.spec import Adam, Data, Run, SmallCnn, Xent
from jobs import provenance
from jobs.attempt import lease, runner
from jobs.errors import Stopped
from jobs.journal.files import Journal, read  # fmt: skip
from jobs.journal.records import (
    AnyRecord,
    Claim,
    Died,
    Failed,
    PlannedArray,
    Preempted,
    Released,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import Home
from jobs.signals import StopRequest
from jobs.slurm import array_task as elements
from jobs.slurm.array_task import EXIT_REFUSED, EXIT_REQUEUE, ArrayTask

NAME = "20260101-000000-aaaa"


@pytest.fixture(autouse=True)
def no_redirection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements.processes, "redirect_output", lambda _: None)


@pytest.fixture
def asked_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that Slurm was asked to start again."""
    asked: list[str] = []
    monkeypatch.setattr(elements.client, "job_state", lambda _: ("RUNNING", 0, 1000))
    monkeypatch.setattr(elements.client, "requeue", asked.append)
    return asked


@pytest.fixture
def element(tmp_path: Path) -> Callable[..., ArrayTask]:
    def make(stage: str = "train", restart: int = 0, spec: dict | None = None, **retries: int) -> ArrayTask:
        submitted = Submitted(
            name=NAME, matrix="m", matrix_path="", executor="slurm", code=provenance.code_digest()
        )  # fmt: skip
        claim = Claim(run_id="r1", label="", stage=stage, spec=spec or {}, job="ceb-a", index=0)
        return ArrayTask(Home(tmp_path), submitted, claim, Retries(**retries), "7_0", restart)

    return make


def ended(element: ArrayTask, *ends: AnyRecord | None) -> None:
    """Attempts of this submission that came to these ends; None: without a word."""
    for restart, end in enumerate(ends, element.restart):
        attempt = element.paths.next_attempt(element.stage)
        with Journal(element.paths.journal(element.stage, attempt)) as journal:
            journal.write(Started(submission=NAME, host=f"n{attempt}", job="7_0", restart=restart))
            if end is not None:
                journal.write(end)


def last(element: ArrayTask) -> AnyRecord:
    attempt = element.paths.attempts(element.stage)[-1]
    return read(element.paths.journal(element.stage, attempt)).records[-1]


def run(element: ArrayTask, error: BaseException | None = None) -> int:
    def payload(*_: object) -> None:
        if error:
            raise error

    return elements.run_rank_zero(element, StopRequest(find_reason=lambda _: "preempted"), payload)


def test_success(element, asked_again) -> None:
    assert run(element()) == 0
    assert isinstance(last(element()), Succeeded) and not asked_again


def test_what_it_extends_has_to_be_trained(element, capsys: pytest.CaptureFixture[str]) -> None:
    longer = Run(
        data=Data(name="digits"),
        network=SmallCnn(),
        objective=Xent(),
        optimiser=Adam(),
        epochs=2,
        batch=8,
        extends=(1,),
    )
    later = element(spec=msgspec.to_builtins(longer))
    assert run(later) == EXIT_REFUSED and "so that there is nothing to extend" in capsys.readouterr().out
    assert not later.paths.attempts("train")
    with Journal(runner.extended_run(later.claim, later.paths).journal("train", 1)) as journal:
        journal.write(Started(), Succeeded())
    assert run(later) == 0
    anew = msgspec.structs.replace(later.claim, generation=2, training=2, extended=2)
    again = dataclasses.replace(element(), claim=anew, submission=msgspec.structs.replace(later.submission, name="s2"))
    assert run(again) == EXIT_REFUSED and "is not trained again, so that there is nothing" in capsys.readouterr().out
    with Journal(later.paths.beside(parent_id(longer)).journal("train", 2)) as journal:
        journal.write(Started(generation=2), Succeeded())
    assert run(again) == 0


@pytest.mark.parametrize("code", [EXIT_REFUSED, 137, 143])
def test_of_several_tasks_a_refusal_is_no_death(element, asked_again, code: int) -> None:
    """srun kills those that wait for the first one to begin, and its own exit code tells of that."""
    assert elements.record_death(element(stage="evaluate"), code) == code
    assert not element(stage="evaluate").paths.attempts("evaluate") and not asked_again


def test_a_stop_starts_again_and_says_why(element, asked_again) -> None:
    asked = StopRequest(find_reason=lambda _: "timeout")

    def payload(*_: object) -> None:
        asked.received.append(elements.signal.SIGUSR2)
        raise Stopped

    assert elements.run_rank_zero(element(), asked, payload) == EXIT_REQUEUE
    assert last(element()).reason == "timeout" and asked_again == ["7_0"]


@pytest.mark.parametrize(
    ("state", "restarts"), [("CANCELLED", 0), ("COMPLETING", 0), ("PENDING", 1), ("RUNNING", 1), ("", 0)]
)
def test_what_slurm_ended_or_restarted_itself_is_not_requeued(
    element, asked_again, monkeypatch: pytest.MonkeyPatch, state: str, restarts: int
) -> None:
    monkeypatch.setattr(elements.client, "job_state", lambda _: (state, restarts, None))
    elements.requeue(element())
    assert not asked_again


def test_failures_are_tried_again_as_often_as_allowed(element, asked_again) -> None:
    one = element(failed=1)
    assert run(one, ValueError("no")) == EXIT_REQUEUE and asked_again
    assert run(one, ValueError("no")) == 1
    assert run(one) == EXIT_REFUSED  # a requeue of what has failed for good


@pytest.mark.parametrize("kind", elements.PERMANENT_FAILURES)
def test_some_failures_never_are(element, asked_again, kind: str) -> None:
    ended(element(failed=9), Failed(error="", kind=kind))
    assert run(element(failed=9)) == EXIT_REFUSED and not asked_again


def test_what_has_succeeded_is_not_run_again(element, asked_again) -> None:
    ended(element(), Succeeded())
    assert run(element(), ValueError("run all the same")) == 0


@pytest.mark.parametrize(
    ("ends", "retries", "said"),
    [
        ([None] * 4, {}, "node failure more than 3 times (on n1, n2, n3, n4)"),
        ([Preempted(reason="timeout")] * 2, {"timeout": 1}, "timeout more than 1 times"),
        ([Preempted(reason="superseded")], {"node_failure": 0}, "node failure more than 0 times"),
    ],
)
def test_it_gives_up_and_says_where_it_was(element, asked_again, ends, retries, said: str) -> None:
    one = element(restart=9, **retries)
    ended(one, *ends)
    assert run(one) == 1 and not asked_again
    assert said in last(one).error and last(one).kind == "retries"


@pytest.mark.parametrize(
    ("ends", "retries"),
    [
        ([None] * 3, {}),
        ([Preempted(reason="timeout")], {"timeout": 1}),
        ([Failed(error="no")], {"failed": 1}),
        ([Died(reason="killed"), None, Preempted(reason="timeout")], {"failed": 1, "node_failure": 1, "timeout": 1}),
    ],
)
def test_it_is_tried_as_often_as_its_retries_say(element, asked_again, ends, retries) -> None:
    """The start behind the last allowed end still works: giving up comes one later."""
    task = element(restart=9, **retries)
    ended(task, *ends)
    assert run(task) == 0 and isinstance(last(task), Succeeded)


def test_the_death_of_a_copy_that_was_cut_off_is_not_noted(element, asked_again) -> None:
    ended(element(), None, Preempted(reason="timeout"))
    assert elements.record_death(element(), 1) == 1
    assert isinstance(read(element().paths.journal("train", 1)).records[-1], Started)


@pytest.mark.parametrize(
    ("heard", "left", "reason"),
    [
        (["SIGUSR2"], 100, "timeout"),
        (["SIGUSR2"], 5000, "preempted"),  # a grace time begins
        (["SIGUSR2"], None, "preempted"),  # without a limit
        (["SIGTERM"], 5000, "preempted"),
        (["SIGUSR2", "SIGTERM"], 0, "timeout"),
    ],
)
def test_why_it_was_asked_to_stop(element, monkeypatch, heard: list[str], left: int | None, reason: str) -> None:
    monkeypatch.setattr(elements.client, "job_state", lambda _: ("RUNNING", 0, left))
    asked = StopRequest()
    asked.received = [elements.signal.Signals[name] for name in heard]
    assert elements.stop_reason(element(), asked) == reason


@pytest.mark.parametrize(
    ("said", "reason"), [("2026-11-21T16:25:06", "preempted"), ("N/A", "cancelled"), ("", "cancelled")]
)
def test_a_job_that_is_being_ended_was_preempted_or_cancelled(element, says, said: str, reason: str) -> None:
    """For a moment Slurm calls both COMPLETING and has not counted the restart yet."""
    then = "true" if said else "exit 1"  # of a Slurm that does not know the word
    says("squeue", f'case "$*" in *PreemptTime*) echo "{said}"; {then};; *) echo "COMPLETING|0|30:00|";; esac')
    asked = StopRequest()
    asked.received = [elements.signal.SIGTERM]
    assert elements.stop_reason(element(), asked) == reason


def test_what_fails_behind_a_newer_start_is_superseded(element, asked_again) -> None:
    def payload(*_: object) -> None:
        newer = lease.acquire(element().paths.lease("train"), lambda _: True)
        assert newer is not None
        newer.write_holder(2, NAME, 1)
        raise OSError("stale file handle")

    assert elements.run_rank_zero(element(), StopRequest(), payload) == 1 and not asked_again
    assert last(element()) == Preempted(reason="superseded", time=last(element()).time)


def test_what_the_signals_broke_is_a_pause(element, asked_again) -> None:
    asked = StopRequest(find_reason=lambda _: "preempted")

    def payload(*_: object) -> None:
        asked.received.append(elements.signal.SIGTERM)
        raise RuntimeError("a reader is killed by signal: Terminated")

    assert elements.run_rank_zero(element(), asked, payload) == EXIT_REQUEUE and asked_again
    assert last(element()).reason == "preempted"


def test_preemptions_are_not_counted(element, asked_again) -> None:
    ended(element(), *[Preempted(reason="preempted")] * 30)
    assert run(element(restart=30)) == 0


def test_an_evaluation_of_what_is_not_trained_refuses(element) -> None:
    assert run(element("evaluate")) == EXIT_REFUSED
    assert not element("evaluate").paths.attempts("evaluate")


def test_a_death_is_noted_once_and_only_if_nothing_was_said(element, asked_again) -> None:
    one = element()
    ended(one, None)
    assert elements.record_death(one, 137) == 137
    assert "signal 9, SIGKILL (out of memory?)" in last(one).reason
    assert elements.record_death(one, 137) == 137
    assert sum(isinstance(record, Died) for record in read(one.paths.journal("train", 1)).records) == 1
    ended(again := element(restart=1), Failed(error="x"))
    assert elements.record_death(again, 1) == 1 and isinstance(last(again), Failed)


def test_a_death_before_the_beginning_has_a_journal_of_its_own(element, asked_again) -> None:
    ended(element(), Preempted())
    assert elements.record_death(element(restart=1), 1) == 1
    assert element().paths.attempts("train") == [1, 2]
    assert "before it began" in last(element()).reason


def test_a_success_that_was_only_claimed_is_a_death(element) -> None:
    ended(element(), None)
    assert elements.record_death(element(), 0) == 1


def test_who_is_cut_off_is_not_dead(element) -> None:
    one = element()
    held = lease.acquire(one.paths.lease("train"))
    assert held is not None
    held.write_holder(1, NAME)
    ended(one, None)
    assert elements.record_death(one, 0) == 0
    assert isinstance(last(one), Started)


def test_it_finds_its_claim_unless_that_was_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    for name, value in {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(name, value)
    resources = Resources(retries=Retries(failed=5))
    with Journal(home.submission(NAME)) as journal:
        journal.write(Submitted(name=NAME, matrix="m", matrix_path="", executor="slurm", code=""))
        journal.write(PlannedArray(job="ceb-a", stage="train", resources=resources))
        for index in range(5):
            claim = Claim(run_id=f"r{index}", label="", stage="train", spec={}, job="ceb-a", index=index)
            journal.write(claim)
    found = elements.from_environment(home, NAME, "ceb-a")
    assert found and (found.claim.run_id, found.job, found.restart, found.retries.failed) == ("r3", "7_3", 2, 5)
    with Journal(home.submission("20260101-000001-bbbb")) as journal:
        journal.write(Released(submission=NAME, run_id="r2", stage="train", reason=""))
        assert elements.from_environment(home, NAME, "ceb-a")
        journal.write(Released(submission=NAME, run_id="r3", stage="train", reason=""))
    assert elements.from_environment(home, NAME, "ceb-a") is None


# --- the other tasks of a job ---


def follow(
    element: ArrayTask,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None = None,
    asked: StopRequest | None = None,
) -> tuple[int, list[object]]:
    """The exit code of a task that is not the first, and the journals that its work was given."""
    given: list[object] = []

    def payload(_claim: object, _paths: object, journal: object, _should_stop: object) -> None:
        given.append(journal)
        if error:
            raise error

    monkeypatch.setitem(elements.runner._WORK, "train", payload)
    monkeypatch.setattr(elements, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(elements, "LAST_WORDS_SECONDS", 0.01)
    return elements.run_other_rank(element, asked or StopRequest(), 1), given


@pytest.mark.parametrize(("error", "code"), [(None, 0), (Stopped(), 0), (ValueError("no"), 1)])
def test_another_task_does_the_same_work_without_a_journal(element, monkeypatch, error, code) -> None:
    ended(element(), None)
    assert follow(element(), monkeypatch, error) == (code, [None])
    assert element().paths.attempts("train") == [1]
    assert isinstance(last(element()), Started)


def test_another_task_waits_for_the_first_one_of_its_own_start(element, monkeypatch) -> None:
    ended(element(), Preempted(reason="timeout"))
    begun = iter([lambda: None, lambda: None, lambda: ended(element(restart=1), None)])
    monkeypatch.setattr(elements.time, "sleep", lambda _: next(begun, lambda: None)())
    assert follow(element(restart=1), monkeypatch) == (0, [None])
    assert next(begun, None) is None


def test_another_task_goes_where_there_is_nothing_to_do(element, monkeypatch) -> None:
    ended(element(), Succeeded())
    assert follow(element(restart=1), monkeypatch) == (0, [])


def test_another_task_that_is_asked_to_stop_does_so_with_the_first(element, monkeypatch) -> None:
    asked = StopRequest()
    asked.received.append(elements.signal.SIGTERM)
    monkeypatch.setattr(elements.time, "sleep", lambda _: ended(element(), None))
    assert follow(element(), monkeypatch, asked=asked) == (0, [None])


def test_a_death_that_was_noted_is_not_noted_again(element, asked_again) -> None:
    ended(element(), Died(reason="another process of this job is gone"))
    assert elements.record_death(element(), 1) == 1
    attempt = read(element().paths.journal("train", 1)).records
    assert [type(record) for record in attempt] == [Started, Died]
