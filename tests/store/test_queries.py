"""The questions, each on both databases."""

import time
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import AnyBenchmark, Clean, Pgd, Top5
from jobs.journal.records import Claim, Failed, Measure, Metrics, Released, Result, Started, Submitted, Succeeded
from jobs.paths import Home
from store import queries
from store.connect import Store
from store.ingest import ingest
from store.row_types import Renewal, WorkerRow


@pytest.fixture
def filled(store: Store, campaign: Home) -> Store:
    ingest(store, campaign)
    return store


def test_runs(filled: Store) -> None:
    assert [(run.run_id, run.label, run.submission) for run in queries.runs(filled)] == [
        ("r0", "ceb r0", "s1"),
        ("r1", "ceb r1", "s2"),
        ("r2", "ceb r2", "s1"),
        ("r3", "ceb r3", "s1"),
    ]
    assert queries.runs(filled)[1].spec == {"objective": {"rho": -0.5, "name": "ceb"}, "seed": 1}
    assert [run.run_id for run in queries.runs(filled, "r1")] == ["r1"]
    for prefix in ("r%", "R1", "_", "'"):
        assert queries.runs(filled, prefix) == []


def test_submissions(filled: Store) -> None:
    first, second = queries.submissions(filled)
    assert (first.name, second.name) == ("s1", "s2")
    assert (first.matrix, first.executor, first.submitted_by, first.git_commit) == ("m", "local", "u", None)
    assert first.submitted_at and abs(first.submitted_at - time.time()) < 600


def test_open_claims(filled: Store) -> None:
    claims = queries.open_claims(filled)
    assert [(claim.run_id, claim.submission) for claim in claims] == [
        ("r0", "s1"),
        ("r1", "s1"),
        ("r1", "s2"),
        ("r2", "s1"),  # r3 was given back
    ]
    assert claims[0].benchmarks == (Clean(), Pgd(norm="linf", eps=0.1))
    assert (claims[0].executor, claims[0].host) == ("local", "h")
    [worker] = claims[2].workers
    assert worker == WorkerRow("s2", "s2-w0", "1", 10, worker.launched_at)
    assert [claim.run_id for claim in queries.open_claims(filled, ["r2", "r3"])] == ["r2"]


def test_what_failed_is_known_when_its_claim_was_given_back(store: Store, home: Home, write: Any) -> None:
    asked: dict[str, list[AnyBenchmark]] = {"s1": [Clean(), Pgd(norm="linf", eps=0.1)], "s2": [Top5()]}
    for name, benchmarks in asked.items():
        claim = Claim(run_id="r1", label="", stage="evaluate", spec={}, benchmarks=benchmarks)
        submitted = Submitted(name=name, matrix="m", matrix_path="", executor="local", code="")
        given_back = Released(submission="s1", run_id="r1", stage="evaluate", reason="over")
        write(home.submission(name), submitted, claim, *[given_back] * (name == "s2"))
    write(home.run("r1").journal("evaluate", 1), Started(submission="s1"), Failed(error="x"))
    write(home.run("r1").journal("evaluate", 2), Started(submission="s2"), Succeeded())
    ingest(store, home)
    assert queries.failed_benchmarks(store, ["r1", "r2"]) == {"r1": set(asked["s1"])}


def test_jobs_of_some_runs(filled: Store) -> None:
    assert {job.run_id for job in queries.attempts(filled, ["r0", "r2", "r0", "unknown"])} == {"r0", "r2"}
    assert queries.attempts(filled, []) == []


def test_ten_thousand_ids(filled: Store) -> None:
    ids = [f"r{number}" for number in range(10_000)]
    assert queries.attempts(filled, ids) == queries.attempts(filled)
    assert queries.open_claims(filled, ids) == queries.open_claims(filled)
    assert len(queries.results(filled, ids)) == 3


def test_results(filled: Store) -> None:
    clean, again, rate = queries.results(filled, ["r0", "r1"])
    assert (clean.run_id, clean.name, clean.correct, clean.total, clean.benchmark) == ("r0", "clean", 350, 360, Clean())
    assert (again.run_id, rate.name, rate.value, rate.std, rate.correct) == ("r1", "rate", 2.5, 0.1, None)
    assert queries.per_sample(filled, "r0", "e1") == "bits"
    assert queries.per_sample(filled, "r0", "e2") is None


def test_the_newest_attempt_gives_the_whole_result(store: Store, home: Home, write: Any) -> None:
    for attempt, measures in ((9, ["rate", "old"]), (10, ["rate"])):
        result = Result(
            evaluation_id="e",
            benchmark=Clean(),
            data_digest="d",
            checkpoint_step=1,
            engine="x",
            measures=[Measure(name=name, unit="nats", total=1, value=float(attempt)) for name in measures],
        )
        write(home.run("r").journal("evaluate", attempt), Started(), result)
    write(home.run("r").journal("evaluate", 11), Started())
    ingest(store, home)
    [row] = queries.results(store, ["r"])
    assert (row.attempt, row.name, row.value) == (10, "rate", 10.0)


def test_metrics_of_the_newest_attempt_at_each_step(filled: Store) -> None:
    loss = queries.metrics(filled, "r1", ["loss"])
    assert [(point.step, point.attempt, point.value) for point in loss] == [
        (1, 1, 1.0),
        (2, 1, 0.5),
        (3, 2, 1 / 3 + 2),
        (4, 2, 2.25),
        (5, 2, 2.2),
    ]
    assert {point.name for point in queries.metrics(filled, "r1")} == {"loss", "rate"}
    assert queries.metrics(filled, "r0", ["rate"])[0].value is None
    assert queries.metrics(filled, "r0", []) == queries.metrics(filled, "unknown") == []


def test_the_metrics_of_a_run_begin_with_those_that_it_extends(store: Store, home: Home, write: Any) -> None:
    for run_id, steps, value in (("first", range(1, 6), 1.0), ("second", range(5, 9), 2.0), ("third", (9,), 3.0)):
        points = [Metrics(step=step, epoch=step / 2, values={"loss": value}) for step in steps]
        write(home.run(run_id).journal("train", 1), Started(), *points)
    write(home.run("first").journal("evaluate", 1), Started(), Metrics(step=1, epoch=0, values={"loss": 0.0}))
    ingest(store, home)
    whole = queries.metrics(store, "third", ["loss"], ancestors=["first", "second"])
    assert [(point.stage, point.step, point.value) for point in whole] == [
        *(("train", step, 1.0) for step in range(1, 5)),
        *(("train", step, 2.0) for step in range(5, 9)),
        ("train", 9, 3.0),
    ]
    assert queries.metrics(store, "second", ancestors=["not there"]) == queries.metrics(store, "second")
    thin = queries.metrics(store, "third", at_most=5, ancestors=["first", "second"])
    assert len(thin) <= 5 and (thin[0], thin[-1]) == (whole[0], whole[-1])


def test_damaged(filled: Store, campaign: Home, write: Any) -> None:
    assert queries.damaged_journals(filled) == {}
    write(campaign.submission("s2"), b"?\n?\n")
    ingest(filled, campaign)
    assert queries.damaged_journals(filled) == {"submissions/s2.jsonl": 2}


def test_a_thousand_runs_are_answered_at_once(home: Home, write: Any, sqlite_file: Path) -> None:
    """The benchmarks measure this at full size; here, that no question walks through the metrics."""
    from store.connect import open_store

    write(home.submission("s"), *[Claim(run_id=f"r{n}", label="", stage="train", spec={"n": n}) for n in range(1000)])
    points = [Metrics(step=step, epoch=0, values={"loss": 1.0, "rate": 2.0}) for step in range(100)]
    for n in range(100):
        write(home.run(f"r{n}").journal("train", 1), Started(), *points)
    with open_store(f"sqlite:///{sqlite_file}") as store:
        ingest(store, home)
        before = time.process_time()
        assert len(queries.attempts(store)) == 100
        assert len(queries.open_claims(store)) == 1000
        assert queries.results(store, [f"r{n}" for n in range(1000)]) == []
        assert time.process_time() - before < 0.5
        with store.reading() as connection:
            plan = connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN SELECT * FROM metrics WHERE run_id = 'r1' AND name = 'loss'"
            ).all()
        assert "SEARCH" in plan[0][3]


def test_of_a_training_done_again_the_newest_that_is_complete_counts(store: Store, home: Home, write: Any) -> None:
    def trained(attempt: int, generation: int, loss: float, *end: Any) -> None:
        metrics = Metrics(step=1, epoch=1.0, values={"loss": loss})
        write(home.run("r0").journal("train", attempt), Started(generation=generation), metrics, *end)

    def evaluated(attempt: int, generation: int, correct: int) -> None:
        measure = Measure(name="clean", unit="accuracy", total=9, correct=correct)
        result = Result(
            evaluation_id="e1",
            benchmark=Clean(),
            data_digest="d",
            checkpoint_step=1,
            engine="x",
            measures=[measure],
            per_sample=str(correct),
            generation=generation,
        )
        write(home.run("r0").journal("evaluate", attempt), Started(generation=generation), result)

    def counts() -> tuple[list[int | None], list[float | None], str | None]:
        ingest(store, home)
        losses = [point.value for point in queries.metrics(store, "r0")]
        return [row.correct for row in queries.results(store, ["r0"])], losses, queries.per_sample(store, "r0", "e1")

    trained(1, 1, 0.5, Succeeded())
    evaluated(1, 1, 1)
    trained(2, 2, 0.4)
    assert counts() == ([1], [0.5], "1"), "under way"
    write(home.run("r0").journal("train", 2), Failed(error="nan"))
    assert counts() == ([1], [0.5], "1"), "failed"
    trained(3, 2, 0.3, Succeeded())
    assert counts() == ([], [0.3], None), "measured on another network"
    evaluated(2, 2, 2)
    assert counts() == ([2], [0.3], "2")
    evaluated(3, 1, 3)
    trained(4, 1, 0.2, Succeeded())
    assert counts() == ([2], [0.3], "2"), "of an older generation, and late"


def test_renewals(store: Store, home: Home, write: Any) -> None:
    given: dict[str, Any] = {"label": "", "spec": {}}
    pgd = Pgd(norm="linf", eps=0.1)
    for name, generation in (("s1", 1), ("s2", 2)):
        claim = Claim(run_id="r0", stage="evaluate", benchmarks=[pgd], generation=generation, **given)
        write(
            home.submission(name), Submitted(name=name, matrix="m", matrix_path="", executor="local", code="c"), claim
        )
    write(home.submission("s2"), Released(submission="s2", run_id="r0", stage="evaluate", reason="no room"))
    ingest(store, home)
    assert queries.renewals(store, ["r0", "r1"]) == [Renewal("r0", "evaluate", 2, (pgd,))]
