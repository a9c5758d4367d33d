"""`submit --wait` follows up what had to wait for another run: each once, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from cebctl.render import progress
from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.polling import Snapshot as PolledSnapshot
from cebctl.status.polling import poll
from cebctl.status.states import Observations, RunStatus, runs_with_pending_training
from cebctl.study.submitting import Outcome, describe_unclaimed, follow
from cebctl.submission.executors import Batch, BatchResult, Local, StagesToSubmit
from cebctl.submission.submit import Submission, blocked_runs, submit
from experiments.benchmarks import Transfer
from experiments.errors import CebctlError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs.journal.files import Journal
from jobs.journal.records import AnyRecord, Died, Failed, Launched, Measure, Result, Started, Succeeded
from jobs.paths import STAGES, Home
from jobs.processes import Process
from jobs.provenance import Snapshot

CHAIN = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256}
variants: {one: {epochs: 1}, two: {epochs: 2, extends: [1]}, three: {epochs: 3, extends: [1, 2]}}
grids: [{objective: xent, variants: [three, two, one]}]
"""
TRANSFER = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256, epochs: 1}
grids: [{objective: xent}, {objective: ceb, rho: 3}]
evaluate:
  - clean: {only: objective = ceb}
  - transfer: {norm: linf, eps: 0.1, steps: 2, source: objective = xent, only: objective = ceb}
"""
DIED, FAILED, DONE = Died(reason="killed by signal 9"), Failed(error="nan", kind="nan"), Succeeded()


class Scripted:
    """An executor whose attempts end at once: by label and stage as told, else they succeed; transfer may kill."""

    name = "local"
    max_parallel = None

    def __init__(
        self, ends: Mapping[str, AnyRecord] | None = None, *, cluster: bool = False, transfer: AnyRecord = DONE
    ) -> None:
        self.ends, self.cluster, self.transfer = ends or {}, cluster, transfer
        self.sent: list[list[str]] = []

    def dependable_runs(
        self, runs: Sequence[RunStatus], observations: Observations, *, retry_failed: bool
    ) -> Collection[str]:
        return runs_with_pending_training(runs, (), retry_failed=retry_failed) if self.cluster else ()

    def batches(self, name: str, matrix: Matrix, offered: StagesToSubmit, observations: Observations) -> list[Batch]:
        return Local().batches(name, matrix, offered, observations)

    def send(self, home: Home, snapshot: Snapshot, name: str, batch: Batch, sent: Sequence[BatchResult]) -> BatchResult:
        self.sent.append([f"{claim.label} {claim.stage}" for claim in batch.claims])
        assert len(self.sent) < 9, "for ever"
        for claim in batch.claims:
            paths = home.run(claim.run_id)
            end = self.ends.get(f"{claim.label} {claim.stage}", DONE)
            if any(isinstance(benchmark, Transfer) for benchmark in claim.benchmarks):
                end = self.transfer
            with Journal(paths.journal(claim.stage, paths.next_attempt(claim.stage))) as journal:
                journal.write(Started(submission=name, host="h", pid=1), end)
        return BatchResult((Launched(job="", executor_id="nobody"),), batch.claims)

    def is_outcome_unknown(self, error: CebctlError) -> bool:
        return False


def waited(text: str, folder: Path, home: Home, executor: Scripted) -> list[list[str]]:
    """Return the submitted stages, from the first submission on."""
    matrix = _matrix(text, folder)
    with open_home(home, create=True) as store:
        outcome = Outcome(*submit(matrix, store, home, executor), store, executor)
        watch = partial(progress.watch, matrix, partial(poll, matrix, store, home))
        announced: list[Submission] = []
        runs = follow(matrix, home, outcome, watch, announced.append)
        assert runs == collect_statuses(matrix, store, home) and len(announced) == len(executor.sent) - 1
    return executor.sent


def _matrix(text: str, folder: Path) -> Matrix:
    path = folder / "m.yaml"
    path.write_text(text)
    return load(path)


def test_a_chain_is_followed_up_link_by_link(tmp_path: Path, home: Path) -> None:
    sent = waited(CHAIN, tmp_path, Home(home), Scripted())
    assert sent == [["xent epochs=1 train"], ["xent epochs=2 train"], ["xent epochs=3 train"]]


@pytest.mark.parametrize("end", [DIED, FAILED])
def test_what_extends_a_run_that_is_lost_or_failed_is_not_sent(tmp_path: Path, home: Path, end: AnyRecord) -> None:
    sent = waited(CHAIN, tmp_path, Home(home), Scripted({"xent epochs=2 train": end}))
    assert sent == [["xent epochs=1 train"], ["xent epochs=2 train"]]


def test_on_a_cluster_a_lost_parent_sends_nothing_after_it(tmp_path: Path, home: Path) -> None:
    ends = {f"xent epochs={n} train": DIED for n in (1, 2, 3)}
    [together] = waited(CHAIN, tmp_path, Home(home), Scripted(ends, cluster=True))
    assert sorted(together) == sorted(ends)


def test_an_evaluation_that_dies_is_not_sent_for_ever(tmp_path: Path, home: Path) -> None:
    ends = {"ceb rho=3 evaluate": DIED, "xent train": FAILED}
    [together] = waited(TRANSFER, tmp_path, Home(home), Scripted(ends))
    assert together == ["xent train", "ceb rho=3 train", "ceb rho=3 evaluate"]


def test_a_transfer_is_sent_once_its_source_is_trained(tmp_path: Path, home: Path) -> None:
    """Once: what becomes of it is for the user to see."""
    sent = waited(TRANSFER, tmp_path, Home(home), Scripted(transfer=DIED))
    assert sent == [["xent train", "ceb rho=3 train", "ceb rho=3 evaluate"], ["ceb rho=3 evaluate"]]


MORE = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256, epochs: 1}
grids: [{objective: xent}]
evaluate: [clean, pgd: {norm: linf, eps: 0.1, steps: 2}]
"""
LESS = MORE.replace(", pgd: {norm: linf, eps: 0.1, steps: 2}", "")


def _result(planned: PlannedRun) -> Result:
    """Return a result of the first benchmark."""
    benchmark = planned.benchmarks[0]
    return Result(
        evaluation_id=evaluation_id(benchmark, planned.run.data.name),
        benchmark=benchmark,
        data_digest="d",
        checkpoint_step=1,
        engine="x",
        measures=[Measure(name="accuracy", unit="accuracy", total=9, correct=8)],
    )


class Slow(Scripted):
    """An executor whose worker, this process, has taken nothing up yet."""

    def send(self, home: Home, snapshot: Snapshot, name: str, batch: Batch, sent: Sequence[BatchResult]) -> BatchResult:
        return BatchResult((Launched(job="", executor_id=str(Process.current())),), batch.claims)


@pytest.mark.parametrize("end", [DONE, FAILED, DIED])
def test_a_benchmark_of_a_run_that_another_submission_trains_is_followed_up(
    tmp_path: Path, home: Path, end: AnyRecord
) -> None:
    less, more, home_paths, executor = _matrix(LESS, tmp_path), _matrix(MORE, tmp_path), Home(home), Scripted()
    (planned,) = more.runs
    with open_home(home_paths, create=True) as store:
        other, _ = submit(less, store, home_paths, Slow())
        assert other
        outcome = Outcome(*submit(more, store, home_paths, executor), store, executor)
        assert outcome.submission is None
        (message,) = describe_unclaimed(outcome, more)
        assert planned.name in message and "--wait" in message

        def watch() -> PolledSnapshot:
            """The other submission gets to its end meanwhile, the first time."""
            paths = home_paths.run(planned.run_id)
            for stage in STAGES if not paths.attempts("train") else ():
                records = [end]
                if stage == "evaluate":
                    records = [_result(planned), DONE] if end == DONE else []
                if records:
                    with Journal(paths.journal(stage, 1)) as journal:
                        journal.write(Started(submission=other.name), *records)
            return poll(more, store, home_paths)

        runs = follow(more, home_paths, outcome, watch, lambda submission: None)
    assert executor.sent == ([[f"{planned.name} evaluate"]] if end == DONE else [])
    states = [stage.state for stage in runs[0].stages]
    assert states == (["done", "new"] if end == DONE else ["failed" if end == FAILED else "lost", "new"])


def test_nobody_is_waited_for_where_everything_is_claimed(tmp_path: Path, home: Path) -> None:
    matrix, home_paths = _matrix(MORE, tmp_path), Home(home)
    with open_home(home_paths, create=True) as store:
        submit(matrix, store, home_paths, Slow())
        outcome = Outcome(*submit(matrix, store, home_paths, Slow()), store, Slow())
        assert outcome.submission is None and not describe_unclaimed(outcome, matrix)


def test_what_was_cancelled_stays_so(tmp_path: Path, home: Path) -> None:
    """A run that is queued behind the one it extends is not held back, so that nobody follows it up."""
    matrix, home_paths, executor = _matrix(CHAIN, tmp_path), Home(home), Scripted(cluster=True)
    with open_home(home_paths, create=True) as store:
        before = collect_statuses(matrix, store, home_paths)
        assert len(blocked_runs(before)) == 2
        assert not blocked_runs(before, submit(matrix, store, home_paths, executor)[0])
