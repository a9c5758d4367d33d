"""A record belongs to a run: one that was copied, misnamed or makes no sense is named, and is no number or obstacle."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cebctl.submission.submit import submission_record as head_of_submission
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import PlannedRun
from jobs import provenance
from jobs.attempt.runner import run_attempt
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Measure, Metrics, Result, Submitted
from jobs.paths import STAGES, Home, RunPaths

ODD_NAMES = (
    "train.old.jsonl",
    "train.1 (copy).jsonl",
    "train.jsonl",
    "train.-1.jsonl",
    "train.٣.jsonl",
    "tune.1.jsonl",
)


def claim_of(planned: PlannedRun, stage: str) -> Claim:
    spec = msgspec.to_builtins(planned.run)
    return Claim(run_id=planned.run_id, stage=stage, label=planned.name, spec=spec, benchmarks=list(planned.benchmarks))


def perform(home: Home, planned: PlannedRun, submission: Submitted, correct: int) -> None:
    """Run both stages as jobs do, with work that only reports."""

    def train(claim: Claim, paths: RunPaths, journal: Journal, _: Any) -> None:
        journal.write(Metrics(step=1, epoch=1.0, values={"loss": float(correct)}))

    def evaluate(claim: Claim, paths: RunPaths, journal: Journal, _: Any) -> None:
        for benchmark in planned.benchmarks:
            journal.write(
                Result(
                    evaluation_id=evaluation_id(benchmark, planned.run.data.name),
                    benchmark=benchmark,
                    data_digest="d",
                    checkpoint_step=4,
                    engine=provenance.engine_digest(),
                    measures=[Measure(name="accuracy", unit="accuracy", total=360, correct=correct)],
                )
            )

    for stage, work in (("train", train), ("evaluate", evaluate)):
        run_attempt(home, submission, claim_of(planned, stage), stage, work)  # type: ignore[arg-type]


@pytest.fixture
def worked(home: Path, small: Path) -> Home:
    """A home in which all of `small` is done, by today's jobs."""
    home_paths = Home(home)
    matrix = load(small)
    with Journal(home_paths.submission("s1")) as journal:
        begun = head_of_submission("s1", matrix, "local", provenance.code_digest())
        journal.write(begun, *[claim_of(planned, stage) for planned in matrix.runs for stage in STAGES])
    for number, planned in enumerate(matrix.runs):
        perform(home_paths, planned, begun, 300 + number)
    return home_paths


@pytest.fixture
def runs(worked: Home, small: Path) -> list[RunPaths]:
    return [worked.run(planned.run_id) for planned in load(small).runs]


def copy(source: Path, target: Path) -> Path:
    shutil.copy(source, target)
    return target


@pytest.mark.parametrize(
    ("whose", "stage", "attempt"), [(1, "evaluate", 2), (0, "evaluate", 2), (1, "train", 999999999)]
)
def test_a_copied_journal_is_no_number(
    call: Any, small: Path, worked: Home, runs: list[RunPaths], whose: int, stage: Any, attempt: int
) -> None:
    """Of another run, and of another attempt at the same one."""
    before = {name: call(name, small, "--json").out for name in ("report", "status")}
    foreign = copy(runs[0].journal("evaluate", 1), runs[whose].journal(stage, attempt))
    text = foreign.read_text().replace('"correct":300', '"correct":7')
    foreign.write_text(text)
    assert {name: call(name, small, "--json").out for name in before} == before
    assert "7/360" not in call("logs", runs[whose].run_id).out
    findings = json.loads(call("doctor", "--json").out)["findings"]
    [named] = [finding["text"] for finding in findings if finding["level"] == "wrong"]
    assert f"{foreign}:1: belongs to run {runs[0].run_id} (evaluate.1)" in named


def test_a_journal_appended_to_another_is_read_up_to_there(call: Any, small: Path, runs: list[RunPaths]) -> None:
    before = call("report", small, "--json").out
    own = runs[1].journal("evaluate", 1)
    own.write_bytes(own.read_bytes() + runs[0].journal("evaluate", 1).read_bytes())
    assert call("report", small, "--json").out == before
    assert f"{own}:5: belongs to run {runs[0].run_id} (evaluate.1)" in call("doctor", "--json").out


def test_a_journal_of_another_home_counts_where_that_home_is_named(
    call: Any, small: Path, worked: Home, runs: list[RunPaths]
) -> None:
    before = call("report", small, "--json").out
    own = runs[0].journal("evaluate", 1)
    [identity] = worked.ids.read_text().split()
    own.write_text(own.read_text().replace(identity, "h0123456789abcdef"))
    assert call("report", small, "--json").out != before
    assert f"{own}:1: belongs to home h0123456789abcdef" in call("doctor", "--json").out
    worked.ids.write_text(f"{identity}\nh0123456789abcdef\n")
    assert call("doctor", "--rebuild").code == 0
    assert call("report", small, "--json").out == before


def test_a_home_that_was_moved_or_copied_keeps_its_records(
    call: Any, small: Path, worked: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = call("report", small, "--json").out
    for place in (shutil.copytree(worked.folder, tmp_path / "copy"), worked.folder.rename(tmp_path / "moved")):
        monkeypatch.setenv("CEBCTL_HOME", str(place))
        assert call("report", small, "--json").out == before
        (place / "home-id").unlink()
        assert call("report", small, "--json").out == before


def test_a_submission_under_another_name_claims_nothing(call: Any, small: Path, worked: Home) -> None:
    before = call("status", small, "--json").out
    text = worked.submission("s1").read_text().replace('"executor":"local"', '"executor":"none"')
    odd = worked.submission("s1 (copy)")
    odd.write_text(text)
    assert call("status", small, "--json").out == before
    assert "s1 (copy)" not in call("status").out
    assert f"{odd}:1: belongs to submission s1" in call("doctor", "--json").out


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_of_another_name_keeps_no_run_from_starting(
    call: Any, small: Path, worked: Home, runs: list[RunPaths], name: str
) -> None:
    odd = copy(runs[0].journal("train", 1), runs[0].journal("train", 1).with_name(name))
    answer = call("logs", runs[0].run_id)
    assert (answer.code, answer.err) == (0, "")
    assert runs[0].next_attempt("train") == 2
    begun = head_of_submission("s2", load(small), "local", provenance.code_digest())
    perform(worked, load(small).runs[0], begun, 1)
    assert runs[0].attempts("train") == [1, 2]
    assert f"{odd} is not called like a journal" in call("doctor", "--json").out


BEYOND_SENSE = ("1e300", "-1e300", "-1", "1e17", "null", "true", '"soon"', "[]", "NaN", "1e999", "-Infinity")


def test_a_number_beyond_sense_is_a_damaged_line(
    call: Any, small: Path, worked: Home, runs: list[RunPaths], tmp_path: Path
) -> None:
    path = runs[0].journal("evaluate", 1)
    line = next(line for line in path.read_text().splitlines() if '"type":"result"' in line)
    line = line.replace('"correct":300', '"correct":0').replace(
        '"checkpoint_step":4', '"checkpoint_step":4,"seconds":1'
    )
    before = call("report", small, "--json").out
    bad = [
        re.sub(rf'("{field}":)[^,}}\]]+', rf"\g<1>{value}", line)
        for field in ("time", "total", "checkpoint_step", "seconds")
        for value in BEYOND_SENSE
    ]
    path.write_text(path.read_text() + "\n".join(bad) + "\n")
    for command in (["show", runs[0].run_id], ["logs", runs[0].run_id], ["report", small, "--html", tmp_path / "page"]):
        answer = call(*command)
        assert (answer.code, "a fault of cebctl" in answer.err) == (0, False), command
    assert call("report", small, "--json").out == before
    output = call("doctor", "--json").out
    assert f"{path}:5: makes no sense: " in output
    assert f"{len(bad)} damaged lines, skipped" in output


def test_a_spec_in_another_runs_folder_is_named_and_not_trained(
    call: Any, small: Path, worked: Home, runs: list[RunPaths]
) -> None:
    matrix = load(small)
    for planned, other in zip(matrix.runs, matrix.runs[1:], strict=False):
        worked.run(planned.run_id).spec.write_text(msgspec.json.encode(other.run).decode())
    assert f"{runs[0].folder}: is given the spec of run {runs[1].run_id}" in call("doctor", "--json").out
    wrong = claim_of(matrix.runs[0], "train")
    wrong.spec = claim_of(matrix.runs[1], "train").spec
    begun = head_of_submission("s3", matrix, "local", provenance.code_digest())
    end = run_attempt(worked, begun, wrong, "train")
    assert f"is given the spec of run {runs[1].run_id}" in getattr(end, "error", "")


def test_two_journals_of_one_attempt_of_an_earlier_commit_are_named(call: Any, small: Path, finished: Home) -> None:
    first, second = (finished.run(planned.run_id) for planned in load(small).runs[:2])
    foreign = copy(first.journal("train", 1), second.journal("train", 2))
    output = call("doctor", "--json").out
    assert f"{first.journal('train', 1)} and {foreign} hold the same attempt" in output
