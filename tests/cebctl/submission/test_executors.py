"""What an executor is sent: how each claim is to be trained, and what waits for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from cebctl.status.states import Observations, RunStatus, derive_statuses
from cebctl.submission.executors import Batch, Executor, Local, Slurm
from cebctl.submission.submit import pending_stages
from experiments.errors import UnreachableError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from jobs.paths import STAGES, Home, Stage
from jobs.provenance import Snapshot
from store.row_types import AttemptRow, ClaimRow, WorkerRow

MATRIX = """
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}
grids: [{objective: xent, seed: [0, 1]}]
evaluate: [clean]
resources:
  train: {execution: {compile: default, channels_last: false}}
  when: [{only: seed = 1, train: {execution: {update: for-loop}}}]
"""


@pytest.mark.parametrize("executor", [Local(), Slurm(array_size=100)], ids=["local", "slurm"])
def test_each_claim_says_how_it_is_trained(executor: Executor, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    matrix = load(path)
    nothing = Observations({}, {}, {}, lambda *_: False, lambda _: False)
    batches = executor.batches(
        "s1", matrix, pending_stages(derive_statuses(matrix, nothing), retry_failed=False), nothing
    )
    sent = {(claim.run_id, claim.stage): claim.execution for batch in batches for claim in batch.claims}
    first, second = (run.run_id for run in matrix.runs)
    for run in (first, second):
        assert sent[run, "train"].compile == "default" and sent[run, "train"].channels_last is False
    assert sent[first, "train"].update != sent[second, "train"].update == "for-loop"
    assert sent[first, "evaluate"] == sent[second, "evaluate"] == type(sent[first, "train"])()


CHAIN = """
base: {data: digits, network: small_cnn, optimiser: adam, batch: 8}
variants:
  one: {epochs: 1}
  two: {epochs: 2, extends: [1]}
  three: {epochs: 3, extends: [1, 2]}
  other: {epochs: 4, extends: [1]}
grids: [{objective: xent, seed: [0, 1], variants: [three, other, two, one]}]
evaluate: [clean]
"""


@pytest.fixture
def chain(tmp_path: Path) -> Matrix:
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    return load(path)


def _orders(matrix: Matrix, runs: list[RunStatus], known: Observations) -> dict[str, Batch]:
    """By the ends of the arrays' names."""
    executor = Slurm(array_size=100)
    offered = pending_stages(
        runs, retry_failed=False, dependable=executor.dependable_runs(runs, known, retry_failed=False)
    )
    batches = executor.batches("s1", matrix, offered, known)
    return {batch.record.job.removeprefix("ceb-s1-"): batch for batch in batches if batch.record}


def test_a_run_follows_the_one_it_extends_element_by_element(chain: Matrix) -> None:
    nothing = Observations({}, {}, {}, lambda *_: False, lambda _: False)
    batches = _orders(chain, derive_statuses(chain, nothing), nothing)
    epochs = {run.run_id: (run.run.epochs, run.run.seed) for run in chain.runs}
    after = {
        name: (
            [(*epochs[claim.run_id], claim.index) for claim in batch.claims],
            [job.removeprefix("ceb-s1-") for job in batch.record.after if batch.record],
        )
        for name, batch in batches.items()
        if name.startswith("train")
    }
    assert list(after) == ["train-1", "train-2", "train-3", "train-4"]  # sent in this order
    assert after["train-1"] == ([(1, 0, 0), (1, 1, 1)], [])
    assert after["train-2"] == ([(4, 0, 0), (4, 1, 1)], ["train-1"])
    assert after["train-3"] == ([(2, 0, 0), (2, 1, 1)], ["train-1"])
    assert after["train-4"] == ([(3, 0, 0), (3, 1, 1)], ["train-3"])
    assert not any(batch.sources or batch.external_dependencies for batch in batches.values())


def test_a_run_waits_for_the_end_of_one_that_is_in_the_queue(chain: Matrix) -> None:
    one = [run for run in chain.runs if run.run.epochs == 1]
    claims = {
        (run.run_id, stage): [_claim(run.run_id, stage, index)] for index, run in enumerate(one) for stage in STAGES
    }
    known = Observations({}, claims, {}, lambda *_: True, lambda _: None)
    batches = _orders(chain, derive_statuses(chain, known), known)
    extending = {run.run_id: run.run.seed for run in chain.runs if run.run.extends == (1,)}
    waits = {
        claim.run_id: batch.external_dependencies
        for batch in batches.values()
        for claim in batch.claims
        if claim.stage == "train"
    }
    at = {run.run.seed: (f"77_{index}",) for index, run in enumerate(one)}
    assert {run_id: waits[run_id] for run_id in extending} == {run_id: at[seed] for run_id, seed in extending.items()}
    assert all(not others for run_id, others in waits.items() if run_id not in extending)


def test_elements_are_in_the_order_of_their_indices(chain: Matrix) -> None:
    """Whatever the matrix has first: what a site does not take of an array are its last ones."""
    nothing = Observations({}, {}, {}, lambda *_: False, lambda _: False)
    backwards = replace(chain, runs=tuple(run for run in chain.runs if run.run.epochs > 1)[::-1] + chain.runs[-2:])
    batches = _orders(backwards, derive_statuses(backwards, nothing), nothing)
    for batch in batches.values():
        indices = [claim.index for claim in batch.claims]
        assert indices == sorted(set(indices), key=lambda index: index or 0)


def test_what_extends_a_run_that_failed_is_not_sent(chain: Matrix) -> None:
    jobs = {(run.run_id, "train"): _job(run.run_id) for run in chain.runs if run.run.epochs == 1 and not run.run.seed}
    known = Observations(jobs, {}, {}, lambda *_: False, lambda _: False)
    batches = _orders(chain, derive_statuses(chain, known), known)
    seeds = {run.run_id: run.run.seed for run in chain.runs}
    assert {seeds[claim.run_id] for batch in batches.values() for claim in batch.claims} == {1}


def _claim(run_id: str, stage: Stage, index: int) -> ClaimRow:
    worker = WorkerRow("s0", "ceb-s0-train-1", "77", None, 0.0)
    return ClaimRow("s0", run_id, stage, "", (), 0.0, "slurm", "", "me", "ceb-s0-train-1", index, (worker,))


def _job(run_id: str) -> AttemptRow:
    given = {"run_id": run_id, "stage": "train", "attempt": 1, "state": "failed", "submission": "s0", "generation": 1}
    return AttemptRow(**{field.name: given.get(field.name) for field in fields(AttemptRow)})


def test_what_may_have_been_accepted_is_not_passed(
    tmp_path: Path, home: Path, says: Callable[[str, str], None]
) -> None:
    """Under a limit, what has to wait for the end of an array that has no number yet is not sent at all."""
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX)
    matrix = load(path)
    nothing = Observations({}, {}, {}, lambda *_: False, lambda _: False)
    executor = Slurm(array_size=100, max_parallel=1)
    batches = executor.batches(
        "s1", matrix, pending_stages(derive_statuses(matrix, nothing), retry_failed=False), nothing
    )
    assert [len(batch.lane) for batch in batches] == list(range(len(batches)))
    home.mkdir()
    says("sbatch", f"echo sent >> {tmp_path}/calls; echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1")
    for batch in batches:
        with pytest.raises(UnreachableError):
            executor.send(Home(home), Snapshot("c", tmp_path, None), "s1", batch, [])
    assert (tmp_path / "calls").read_text().splitlines() == ["sent"]
