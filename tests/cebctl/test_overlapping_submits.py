"""Overlapping submits, and workers that end while others look: each stage is done once, and none is left to nobody.

Claims, leases, journals and processes are real; the work of a stage is to sleep.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from cebctl.planning.plan import make_plan
from cebctl.status.collect import collect_statuses, open_home
from cebctl.status.states import Observations, RunStatus
from cebctl.submission.executors import Batch, BatchResult, Local, StagesToSubmit
from cebctl.submission.submit import submit
from experiments.errors import CebctlError
from experiments.identity import evaluation_id
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs import provenance
from jobs.attempt import runner
from jobs.journal.files import Journal, read
from jobs.journal.ownership import submission_records
from jobs.journal.records import Claim, Launched, Measure, Result, Started, Submitted, Succeeded
from jobs.paths import STAGES, Home, RunPaths
from jobs.processes import Process
from jobs.provenance import Snapshot
from tests.cebctl.conftest import claim, dead_process, submitted

pytestmark = pytest.mark.fault

SUBMITS = 4
MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}
grids: [{objective: ceb, rho: [1, 2, 3]}]
evaluate: [clean]
"""


class Sleeping:
    """Local workers that are forks of this process, of which each trains and evaluates by sleeping, then ends."""

    name = "local"
    max_parallel = None

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.workers: list[int] = []

    def dependable_runs(
        self, runs: Sequence[RunStatus], observations: Observations, *, retry_failed: bool
    ) -> Collection[str]:
        return ()

    def batches(self, name: str, matrix: Matrix, stages: StagesToSubmit, observations: Observations) -> list[Batch]:
        return Local().batches(name, matrix, stages, observations)

    def send(self, home: Home, snapshot: Snapshot, name: str, batch: Batch, sent: Sequence[BatchResult]) -> BatchResult:
        launched = []
        for number in range(2):
            seed = self.random.random()
            if (worker := os.fork()) == 0:
                try:
                    os.closerange(3, 1024)  # the lock of the store among them, which exec would close
                    work(home, name, random.Random(seed))
                finally:
                    os._exit(0)
            self.workers.append(worker)
            launched.append(Launched(job=f"{name}-{number}", executor_id=str(Process.from_pid(worker) or "")))
        return BatchResult(tuple(launched), batch.claims)

    def is_outcome_unknown(self, error: CebctlError) -> bool:
        return False


def work(home: Home, name: str, pauses: random.Random) -> None:
    """Do every stage of a submission that no other worker has taken."""
    submission, *claimed = [r for r in submission_records(home, name) if isinstance(r, Submitted | Claim)]
    assert isinstance(submission, Submitted)

    def sleep(claim: Claim, paths: RunPaths, journal: Journal | None, should_stop: object) -> None:
        time.sleep(pauses.uniform(0, 0.1))
        for benchmark in claim.benchmarks:
            assert journal is not None
            accuracy = Measure(name="accuracy", unit="accuracy", total=9, correct=8)
            journal.write(
                Result(
                    evaluation_id=evaluation_id(benchmark, claim.spec["data"]["name"]),
                    benchmark=benchmark,
                    data_digest="d",
                    checkpoint_step=1,
                    engine="x",
                    measures=[accuracy],
                )
            )

    for stage_claim in claimed:
        assert isinstance(stage_claim, Claim)
        time.sleep(pauses.uniform(0, 0.02))
        runner.run_attempt(home, submission, stage_claim, stage_claim.stage, sleep)


def trial(folder: Path, seed: int) -> Counter[str]:
    """Run one trial, and count what went wrong."""
    folder.mkdir()
    (folder / "m.yaml").write_text(MATRIX)
    matrix, home, draw = load(folder / "m.yaml"), Home(folder / "home"), random.Random(seed)
    home.folder.mkdir()
    lost = draw.choice(matrix.runs)
    with Journal(home.submission("20260101-000000-aaaa")) as journal:  # an old lost run, which is looked at first
        old = submitted("20260101-000000-aaaa", matrix.path)
        journal.write(old, claim(lost, "train"), Launched(job="w", executor_id=str(dead_process())))
    children = []
    for _ in range(SUBMITS):
        pause, child_seed = draw.uniform(0, 0.4), draw.random()
        if (child := os.fork()) == 0:
            code = 1
            try:
                time.sleep(pause)
                executor = Sleeping(int(child_seed * 1e9))
                with open_home(home, create=True) as store:
                    submit(matrix, store, home, executor)
                for worker in executor.workers:
                    os.waitpid(worker, 0)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    faults: Counter[str] = Counter()
    for child in children:
        faults["submit failed"] += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    for planned in matrix.runs:
        for stage in STAGES:
            paths = home.run(planned.run_id)
            records = [r for attempt in paths.attempts(stage) for r in read(paths.journal(stage, attempt)).records]
            faults[f"{stage} done twice"] += sum(isinstance(r, Succeeded) for r in records) > 1
            faults[f"{stage} begun twice"] += sum(isinstance(r, Started) for r in records) > 1
    with open_home(home) as store:
        states = [run.state for run in collect_statuses(matrix, store, home)]
    faults["left to nobody"] += sum(state != "done" for state in states)
    faults["plan differs"] += [run.state for run in make_plan(matrix, home).runs] != states
    return +faults


@pytest.fixture
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no snapshot of the code for each submission, as it does not change meanwhile."""
    digest, engine = provenance.code_digest(), provenance.engine_digest()
    monkeypatch.setattr(provenance, "freeze", lambda home, parts: Snapshot(digest, provenance.ROOT, None))
    monkeypatch.setattr(provenance, "code_digest", lambda: digest)
    monkeypatch.setattr(provenance, "engine_digest", lambda: engine)


def run_trials(folder: Path, seeds: range) -> Counter[str]:
    faults: Counter[str] = Counter()
    for seed in seeds:
        faults += trial(folder / str(seed), seed)
    return faults


@pytest.mark.usefixtures("same_code")
def test_each_stage_is_done_once_and_none_is_left_to_nobody(tmp_path: Path) -> None:
    assert not run_trials(tmp_path, range(4))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("same_code")
def test_five_hundred_times(tmp_path: Path) -> None:
    assert not run_trials(tmp_path, range(1000, 1500))
