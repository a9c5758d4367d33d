"""Ingest: what is read, what is noticed, and that it is read once."""

import os
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import Clean
from experiments.errors import InputError, UnreachableError
from jobs.journal.records import (
    AnyRecord,
    Claim,
    Died,
    Failed,
    Heartbeat,
    Measure,
    Metrics,
    Preempted,
    Released,
    Result,
    Started,
    Submitted,
    Succeeded,
)
from jobs.paths import Home
from store import ingest as module
from store import queries
from store.connect import Store, open_memory, open_store
from store.ingest import ingest

NOTHING = (0, 0, {})


def counts(store: Store, home: Home) -> tuple[int, int, dict[str, int]]:
    found = ingest(store, home)
    return found.files, found.records, found.damaged


def test_everything_is_read_once(store: Store, campaign: Home, dump: Any, rebuilt: Any) -> None:
    files, records, damaged = counts(store, campaign)
    assert (files, damaged) == (8, {})
    assert records > 40
    once = dump(store)
    assert counts(store, campaign) == NOTHING
    assert dump(store) == once == rebuilt(campaign)
    assert all(once.values()), "every table is filled"


def test_the_state_of_each_attempt(store: Store, campaign: Home) -> None:
    ingest(store, campaign)
    states = {(job.run_id, job.stage, job.attempt): job.state for job in queries.attempts(store)}
    assert states == {
        ("r0", "train", 1): "succeeded",
        ("r0", "evaluate", 1): "succeeded",
        ("r1", "train", 1): "failed",
        ("r1", "train", 2): "succeeded",
        ("r1", "evaluate", 1): "succeeded",
        ("r2", "train", 1): "started",
    }
    failed, resumed = queries.attempts(store, ["r1"])[1:]
    assert (failed.error, failed.error_kind, failed.traceback, failed.step) == ("CUDA", "error", "Trace", 3)
    assert (resumed.resumed_step, resumed.step, resumed.steps, resumed.checkpoint_file) == (2, 5, 5, "5.pt")


@pytest.mark.parametrize(
    ("records", "state", "error"),
    [
        ([Started()], "started", None),
        ([Started(), Preempted(step=3)], "preempted", None),
        ([Started(), Died(reason="signal 9")], "died", "signal 9"),
        ([Started(), Succeeded(), Died(reason="signal 9")], "succeeded", None),
        ([Started(), Failed(error="nan", kind="nan"), Died(reason="signal 9")], "failed", "nan"),
        ([Heartbeat(step=1, steps=2)], "started", None),
    ],
)
def test_the_last_word_of_a_job(home: Home, write: Any, records: list[AnyRecord], state: str, error: Any) -> None:
    write(home.run("r").journal("train", 1), *records)
    with open_memory() as store:
        ingest(store, home)
        [job] = queries.attempts(store)
        assert (job.state, job.error) == (state, error)


def test_a_torn_last_line_waits_for_its_end(store: Store, home: Home, write: Any, rebuilt: Any, dump: Any) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Started(), Metrics(step=1, epoch=0, values={"loss": 1.0}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert counts(store, home) == (1, 1, {})
    assert queries.metrics(store, "r") == []
    assert dump(store) == rebuilt(home)
    path.write_bytes(whole)
    assert counts(store, home) == (1, 1, {})
    assert [point.value for point in queries.metrics(store, "r")] == [1.0]
    assert dump(store) == rebuilt(home)


def test_the_line_a_killed_writer_left_is_counted(store: Store, home: Home, write: Any) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Started(), b'{"type":"metrics","st')
    ingest(store, home)
    write(path, Died(reason="killed"))  # begins on a new line
    assert counts(store, home) == (1, 1, {"runs/r/journal/train.1.jsonl": 1})
    assert queries.attempts(store)[0].state == "died"


HOSTILE = {
    "no JSON": b"\xff\xfe\x00garbage",
    "half a record": b'{"type":"metrics","step":1',
    "an unknown type": b'{"type":"confession","time":1}',
    "no object": b"[]",
    "a wrong type": b'{"type":"metrics","time":1,"step":"one","epoch":0,"values":{}}',
    "a step below zero": b'{"type":"metrics","time":1,"step":-1,"epoch":0,"values":{}}',
    "a step no database holds": b'{"type":"metrics","time":1,"step":9223372036854775808,"epoch":0,"values":{}}',
    "an infinity": b'{"type":"metrics","time":1,"step":1,"epoch":1e999,"values":{}}',
    "too deep": b'{"type":"claim","time":1,"run_id":"r","label":"","stage":"train","spec":' + b'{"a":' * 100_000,
    "a carriage return": b'{"type":\r"metrics"\r',
    "another file's record": b'{"type":"claim","time":1,"run_id":"r","label":"","stage":"train","spec":{}}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_damaged_line_is_skipped_and_counted(store: Store, home: Home, write: Any, line: bytes) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Started(), line + b"\n", Succeeded())
    assert ingest(store, home).damaged == {"runs/r/journal/train.1.jsonl": 1}
    write(path, line + b"\n")
    ingest(store, home)
    assert queries.damaged_journals(store) == {"runs/r/journal/train.1.jsonl": 2}
    assert queries.attempts(store)[0].state == "succeeded"


def test_text_that_a_database_may_not_like(store: Store, home: Home, write: Any) -> None:
    write(
        home.run("r").journal("train", 1),
        Metrics(step=0, epoch=0, values={"nul\0": 1.0, "'; DROP TABLE jobs; --": 2.0, "äöü💥": None}),
        Failed(error="nul \0 and 💥", traceback="\0" * 9),
    )
    ingest(store, home)
    assert len(queries.metrics(store, "r")) == 3
    error = queries.attempts(store)[0].error
    assert error and error.startswith("nul ") and error.endswith("💥")


def test_a_damaged_first_line_leaves_a_submission_by_its_name(store: Store, home: Home, write: Any) -> None:
    write(home.submission("s1"), b"garbage\n", Claim(run_id="r", label="l", stage="train", spec={}))
    ingest(store, home)
    [submission] = queries.submissions(store)
    assert (submission.name, submission.executor, submission.submitted_at) == ("s1", "", None)
    assert [claim.run_id for claim in queries.open_claims(store)] == ["r"]


# --- journals that are not what they were ---


@pytest.mark.parametrize("which", ["runs/r1/journal/train.1.jsonl", "submissions/s1.jsonl", "submissions/s2.jsonl"])
@pytest.mark.parametrize("change", ["shrunk", "emptied", "replaced", "removed", "cut and grown again", "longer"])
def test_a_journal_that_changed_is_read_again(
    campaign: Home, write: Any, dump: Any, rebuilt: Any, which: str, change: str
) -> None:
    path = campaign.folder / which
    with open_memory() as store:
        ingest(store, campaign)
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        half = b"".join(lines[: len(lines) // 2])
        again = b"".join(line.replace(b'"time":1', b'"time":2') for line in lines)
        match change:
            case "shrunk":
                path.write_bytes(half)
            case "emptied":
                path.write_bytes(b"")
            case "replaced":
                path.write_bytes(again)
            case "removed":
                path.unlink()
            case "cut and grown again":
                path.write_bytes(half + again[len(half) :] * 3)
            case "longer":
                path.write_bytes(lines[0].replace(b'"time":1', b'"time":2') + whole)
        ingest(store, campaign)
        assert dump(store) == rebuilt(campaign)


def test_a_long_journal_that_was_cut_and_grew_past_the_offset_is_noticed(
    home: Home, write: Any, dump: Any, rebuilt: Any
) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Started(), *[Metrics(step=step, epoch=0, values={"loss": 1.0}) for step in range(300)])
    with open_memory() as store:
        ingest(store, home)
        assert path.stat().st_size > 5 * 4096
        os.truncate(path, path.stat().st_size // 2)
        write(path, *[Metrics(step=step, epoch=0, values={"loss": 2.0}) for step in range(150, 400)])
        ingest(store, home)
        assert dump(store) == rebuilt(home)


def test_a_run_directory_that_was_removed_is_forgotten(store: Store, campaign: Home, dump: Any, rebuilt: Any) -> None:
    ingest(store, campaign)
    for path in (campaign.runs / "r1" / "journal").iterdir():
        path.unlink()
    ingest(store, campaign)
    assert {job.run_id for job in queries.attempts(store)} == {"r0", "r2"}
    assert dump(store) == rebuilt(campaign)


def test_a_home_that_was_moved_is_the_same(campaign: Home, sqlite_file: Path, tmp_path: Path) -> None:
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, campaign)
    moved = Home(campaign.folder.rename(tmp_path / "elsewhere"))
    with open_store(f"sqlite:///{moved.folder}/store.sqlite") as store:
        assert counts(store, moved) == NOTHING
        assert len(queries.attempts(store)) == 6


def test_the_store_of_another_home_is_refused(campaign: Home, tmp_path: Path, postgresql_database: Any) -> None:
    for url in (f"sqlite:///{tmp_path}/shared.sqlite", postgresql_database()):
        with open_store(url) as store:
            ingest(store, campaign)
            with pytest.raises(InputError, match="filled from another home than"):
                ingest(store, Home(tmp_path / "another"))
            assert len(queries.attempts(store)) == 6


def test_a_file_by_another_name_is_no_journal(store: Store, home: Home) -> None:
    for name in ("train.jsonl", "train.x.jsonl", "train.01.jsonl", "tune.1.jsonl", "train.1.backup.jsonl"):
        path = home.folder / "runs" / "r" / "journal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"type":"succeeded","time":1}\n')
    unprintable = Path(os.fsdecode(os.fsencode(home.runs) + b"/\xff/journal/train.1.jsonl"))
    unprintable.parent.mkdir(parents=True)
    unprintable.write_bytes(b'{"type":"succeeded","time":1}\n')
    assert counts(store, home) == NOTHING


def test_a_journal_that_cannot_be_read_is_an_error(store: Store, home: Home) -> None:
    home.run("r").journal("train", 1).mkdir(parents=True)
    with pytest.raises(UnreachableError, match=r"train\.1\.jsonl: can't be read: it is a folder, not a file"):
        ingest(store, home)


# --- nothing doubled ---


def test_a_metric_logged_again_counts_as_logged_last(store: Store, home: Home, write: Any) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Metrics(step=1, epoch=0.5, values={"loss": 3.0}), Metrics(step=1, epoch=0.5, values={"loss": 2.0}))
    ingest(store, home)
    write(path, Metrics(step=1, epoch=0.5, values={"loss": 1.0}))
    ingest(store, home)
    assert [(point.step, point.value) for point in queries.metrics(store, "r")] == [(1, 1.0)]


def test_a_result_found_again_replaces_all_of_the_first(store: Store, home: Home, write: Any) -> None:
    def result(*names: str) -> Result:
        return Result(
            evaluation_id="e",
            benchmark=Clean(),
            data_digest="d",
            checkpoint_step=1,
            engine="x",
            measures=[Measure(name=name, unit="nats", total=1, value=1.0) for name in names],
        )

    path = home.run("r").journal("evaluate", 1)
    write(path, Started(), result("rate", "old"))
    ingest(store, home)
    write(path, result("rate", "new"))
    ingest(store, home)
    assert [row.name for row in queries.results(store, ["r"])] == ["new", "rate"]


def test_a_clock_that_jumps_back_changes_no_order(
    store: Store, home: Home, write: Any, dump: Any, rebuilt: Any
) -> None:
    path = home.run("r").journal("train", 1)
    write(path, Started(time=2e9), Metrics(time=1e9, step=1, epoch=0, values={"loss": 2.0}))
    ingest(store, home)
    write(path, Metrics(time=5.0, step=1, epoch=0, values={"loss": 1.0}), Succeeded(time=4.0))
    os.utime(path, (1, 1))
    ingest(store, home)
    assert queries.attempts(store)[0].state == "succeeded"
    assert queries.metrics(store, "r")[0].value == 1.0
    assert dump(store) == rebuilt(home)


# --- submissions ---


def test_a_release_may_be_read_before_its_claim(store: Store, home: Home, write: Any) -> None:
    write(home.submission("a"), Released(submission="b", run_id="r", stage="train", reason="cancelled"))
    ingest(store, home)
    write(home.submission("b"), Submitted(name="b", matrix="", matrix_path="", executor="local", code=""))
    write(home.submission("b"), Claim(run_id="r", label="l", stage="train", spec={}))
    write(home.submission("b"), Claim(run_id="r", label="l", stage="evaluate", spec={}))
    ingest(store, home)
    assert [claim.stage for claim in queries.open_claims(store)] == ["evaluate"]


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_the_newest_submission_names_a_run(store: Store, home: Home, write: Any, order: list[str]) -> None:
    for name in order:
        write(home.submission(name), Claim(run_id="r", label=f"by {name}", stage="train", spec={"x": 1}))
        ingest(store, home)
    assert [(run.label, run.submission) for run in queries.runs(store)] == [("by b", "b")]


def test_one_run_with_two_specs_is_an_error(store: Store, home: Home, write: Any, dump: Any) -> None:
    write(home.submission("a"), Claim(run_id="r", label="l", stage="train", spec={"rho": 1, "x": [1.5]}))
    write(home.submission("b"), Claim(run_id="r", label="l", stage="train", spec={"x": [1.5], "rho": 1.0}))
    ingest(store, home)  # the order of keys is no difference
    before = dump(store)
    write(home.submission("c"), Claim(run_id="r", label="l", stage="train", spec={"rho": 2, "x": [1.5]}))
    with pytest.raises(InputError, match=r"c\.jsonl: claims run r with another spec than submission b did"):
        ingest(store, home)
    assert dump(store) == before


def test_one_journal_with_two_specs_is_an_error(store: Store, home: Home, write: Any) -> None:
    claims = [Claim(run_id="r", label="l", stage="train", spec={"rho": rho}) for rho in (1, 2)]
    write(home.submission("a"), *claims)
    with pytest.raises(InputError, match="another spec than submission a did"):
        ingest(store, home)


# --- pieces ---


def test_a_journal_is_read_in_pieces(
    store: Store, home: Home, write: Any, dump: Any, rebuilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("r1", "r2"):
        points = [Metrics(step=s, epoch=s, values={"loss": s / 3, "a much longer name" * s: 1.0}) for s in range(60)]
        write(home.run(run).journal("train", 1), Started(), *points, Succeeded())
    whole = rebuilt(home)
    monkeypatch.setattr(module, "PIECE_BYTES", 100)  # less than some lines have
    ingested = ingest(store, home)
    assert (ingested.files, ingested.records) == (2, 124)
    assert dump(store) == whole
