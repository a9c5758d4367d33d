"""What is done again: which generation is wanted, who takes it, and what counts meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from cebctl.diagnostics.doctor import rebuild
from cebctl.planning.plan import make_plan
from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.rerun import parse_selections
from cebctl.status.states import Observations, RunStatus
from cebctl.submission.executors import Batch, BatchResult, Local, StagesToSubmit
from cebctl.submission.submit import Submission, submit
from experiments.benchmarks import tag
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.journal.files import Journal
from jobs.journal.records import AnyRecord, Claim, Failed, Launched, Measure, Result, Started, Succeeded
from jobs.paths import Home
from jobs.provenance import Snapshot
from store import queries
from store.ingest import ingest


class Immediate:
    """An executor whose attempts end at once, as told by stage; results say how many submissions there were."""

    name, max_parallel = "local", None

    def __init__(self, ends: Mapping[str, AnyRecord | None] | None = None) -> None:
        self.ends = ends or {}
        self.claims: list[Claim] = []
        self.sent = 0

    def dependable_runs(self, runs: Sequence[RunStatus], known: Observations, *, retry_failed: bool) -> Collection[str]:
        return ()

    def batches(self, name: str, matrix: Matrix, offered: StagesToSubmit, known: Observations) -> list[Batch]:
        return Local().batches(name, matrix, offered, known)

    def send(self, home: Home, snapshot: Snapshot, name: str, batch: Batch, sent: Sequence[BatchResult]) -> BatchResult:
        self.sent += 1
        for claim in batch.claims:
            self.claims.append(claim)
            attempt(home, claim, name, self.sent, self.ends.get(claim.stage, Succeeded()))
        return BatchResult((Launched(job="", executor_id="nobody"),), batch.claims)

    def is_outcome_unknown(self, error: Exception) -> bool:
        return False


def attempt(home: Home, claim: Claim, submission: str, correct: int, end: AnyRecord | None) -> None:
    """Write the journal of an attempt at a claim; without an `end` nothing, as if nobody had begun."""
    if end is None:
        return
    paths = home.run(claim.run_id)
    with Journal(paths.journal(claim.stage, paths.next_attempt(claim.stage))) as journal:
        journal.write(Started(submission=submission, host="h", pid=1, generation=claim.generation))
        for benchmark in claim.benchmarks if isinstance(end, Succeeded) else ():
            journal.write(
                Result(
                    evaluation_id=evaluation_id(benchmark, "digits"),
                    benchmark=benchmark,
                    data_digest="d",
                    checkpoint_step=4,
                    engine="x",
                    measures=[Measure(name="accuracy", unit="accuracy", total=360, correct=correct)],
                    generation=claim.generation,
                )
            )
        journal.write(end)


def again(home: Home, matrix: Path, what: str, executor: Immediate, only: str = "") -> Submission | None:
    chosen = load(matrix).select(only)
    with open_home(home, create=True) as store:
        return submit(chosen, store, home, executor, again=parse_selections([what], chosen) if what else None)[0]


def numbers(home: Home, matrix: Path, benchmark: str = "pgd") -> set[tuple[int, int]]:
    """The counts that count and their generations, of one benchmark in the runs of a matrix."""
    with open_home(home) as store:
        ingest(store, home)
        rows = queries.results(store, [run.run_id for run in load(matrix).runs])
        rows = [row for row in rows if tag(row.benchmark) == benchmark and row.name == "accuracy"]
        return {(row.correct or 0, row.generation) for row in rows}


def states(home: Home, matrix: Path) -> set[str]:
    with open_home(home) as store:
        return {run.state for run in collect_statuses(load(matrix), store, home)}


def test_it_measures_beside_what_there_is_and_the_newest_counts(finished: Home, small: Path) -> None:
    before = {path: path.read_bytes() for path in finished.journals()}
    executor = Immediate()
    submission = again(finished, small, "pgd, norm = linf", executor, only="objective = ceb")
    assert submission and [(c.stage, c.generation, len(c.benchmarks)) for c in submission.claims] == [
        ("evaluate", 2, 1),
        ("evaluate", 2, 1),
    ]
    assert numbers(finished, small) == {(351, 1), (1, 2)} and numbers(finished, small, "clean") == {(351, 1)}
    assert states(finished, small) == {"done"}
    assert all(path.read_bytes() == content for path, content in before.items())
    assert again(finished, small, "", executor) is None
    assert again(finished, small, "pgd", executor) is not None and numbers(finished, small) == {(2, 2), (2, 3)}


def test_a_new_measurement_that_fails_leaves_the_old_and_is_retried_in_its_generation(
    finished: Home, small: Path
) -> None:
    again(finished, small, "pgd", Immediate({"evaluate": Failed(error="no room")}), only="objective = xent")
    assert numbers(finished, small) == {(351, 1)} and states(finished, small) == {"done", "failed"}
    executor = Immediate()
    with open_home(finished) as store:
        assert submit(load(small), store, finished, executor)[0] is None
        submit(load(small), store, finished, executor, retry_failed=True)
    assert [(claim.stage, claim.generation) for claim in executor.claims] == [("evaluate", 2)]
    assert numbers(finished, small) == {(351, 1), (1, 2)}


def test_what_nobody_began_is_taken_in_its_generation_by_whoever_comes(finished: Home, small: Path) -> None:
    again(finished, small, "pgd", Immediate({"evaluate": None}))
    assert states(finished, small) == {"new"} and numbers(finished, small) == {(351, 1)}
    identical, plain = Immediate({"evaluate": None}), Immediate()
    again(finished, small, "pgd", identical)
    again(finished, small, "", plain)
    assert {claim.generation for claim in (*identical.claims, *plain.claims)} == {2}
    assert numbers(finished, small) == {(1, 2)}


def test_an_attempt_of_an_older_generation_that_ends_late_does_not_count(finished: Home, small: Path) -> None:
    run = load(small).runs[0]
    again(finished, small, "pgd", Immediate())
    late = Claim(run_id=run.run_id, label="", stage="evaluate", spec={}, benchmarks=list(run.benchmarks))
    attempt(finished, late, "s1", 7, Succeeded())
    assert numbers(finished, small) == {(1, 2)}
    rebuild(finished)
    assert numbers(finished, small) == {(1, 2)} and states(finished, small) == {"done"}


def test_training_again_leaves_the_old_numbers_until_it_is_complete(finished: Home, small: Path) -> None:
    again(finished, small, "train", Immediate({"train": Failed(error="nan", kind="nan"), "evaluate": None}))
    assert numbers(finished, small) == {(351, 1)} and states(finished, small) == {"failed"}
    again(finished, small, "train", Immediate({"evaluate": None}))
    assert numbers(finished, small) == numbers(finished, small, "clean") == set(), "made on another network"
    assert states(finished, small) == {"new"}
    measuring = Immediate()
    again(finished, small, "", measuring)
    assert {(c.stage, c.generation, c.training, len(c.benchmarks)) for c in measuring.claims} == {("evaluate", 3, 3, 2)}
    assert numbers(finished, small) == {(1, 3)} and states(finished, small) == {"done"}


def test_what_was_trained_longer_follows_what_it_extends(home: Path, tmp_path: Path) -> None:
    matrix = tmp_path / "chain.yaml"
    matrix.write_text(
        "base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256}\n"
        "variants: {one: {epochs: 1}, two: {epochs: 2, extends: [1]}}\n"
        "grids: [{objective: xent, variants: [two, one]}]\n"
    )
    there, first = Home(home), Immediate()
    for _ in range(2):
        again(there, matrix, "", first)
    assert states(there, matrix) == {"done"}
    executor = Immediate()
    submission = again(there, matrix, "train", executor)
    two, one = (run.run_id for run in load(matrix).runs)
    assert submission and [claim.run_id for claim in submission.claims] == [one]
    assert [(claim.run_id, claim.generation) for claim, _ in submission.returned] == [(two, 2)]
    assert states(there, matrix) == {"new", "done"}
    again(there, matrix, "", executor)
    assert [(claim.run_id, claim.generation) for claim in executor.claims] == [(one, 2), (two, 2)]
    assert states(there, matrix) == {"done"}


def test_the_plan_shows_what_would_be_done_and_its_cost(finished: Home, small: Path) -> None:
    matrix = load(small)
    nothing, pgd = (
        make_plan(matrix, finished),
        make_plan(matrix, finished, again=parse_selections(["pgd_linf"], matrix)),
    )
    whole = make_plan(matrix, finished, again=parse_selections(["pgd", "clean"], matrix))
    train = make_plan(matrix, finished, again=parse_selections(["train"], matrix))
    assert not nothing.pending and len(pgd.pending) == len(whole.pending) == 3 and len(train.pending) == 6
    assert 0 < pgd.hours_to_do < whole.hours_to_do < train.hours_to_do
    assert [described["name"] for described in pgd.to_json()["again"]["benchmarks"]] == ["pgd"]
    stages = [stage for run in pgd.to_json()["runs"] for stage in run["stages"]]
    assert {(s["stage"], s["state"], s["generation"]) for s in stages} == {("train", "done", 1), ("evaluate", "new", 2)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pgx", "no benchmark of the matrix is called 'pgx'; did you mean 'pgd'?"),
        ("information", "no benchmark of the matrix is called 'information'; allowed: clean, pgd, pgd_linf, train"),
        ("pgd, norm = l2", "it holds for no pgd of the matrix; there are pgd_linf@eps=0.1,n=3"),
        ("pgd, nrm = l2", "character 6: unknown field 'nrm'; did you mean 'norm'?"),
        ("pgd norm", "character 5: unexpected 'norm'; expected ','"),
        ("train, rho = 3", "the training has no parameters; --only selects the runs"),
        ("", "it ends too early; expected the name of a benchmark"),
    ],
)
def test_a_selection_that_names_nothing_says_what_there_is(small: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_selections([text], load(small))
    assert said in str(caught.value)
    assert len(parse_selections(["pgd_linf@eps=0.1,n=3"], load(small)).benchmarks) == 1  # type: ignore[union-attr]
