"""Few runs of a matrix, and each of its parts in one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cebctl.rehearsal.cover import choose_runs
from experiments.matrix.load import load

EXPERIMENTS = Path(__file__).parents[3] / "experiments"

SWEEP = """
base: {data: digits, network: small_cnn, optimiser: adam, epochs: 4, batch: 64}
grids:
  - {objective: ceb, rho: [0, 1, 2, 3], lr: [1e-3, 1e-2], width: [4, 8]}
  - {objective: xent, optimiser: {name: sgd, lr: 0.1}, width: [4, 8]}
seeds: [0, 1]
evaluate:
  - clean
  - pgd: {norm: linf, eps: 0.1, only: rho = 2}
resources: {when: [{only: rho = 3, train: {memory: 2G}}]}
"""


def test_each_part_is_in_a_run_and_no_number_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    matrix = load(path)
    runs = choose_runs(matrix)
    assert len(matrix.runs) == 36 and len(runs) == 3, [run.name for run in runs]
    assert {run.run.network.width for run in runs} == {4, 8}
    assert {type(run.run.optimiser).__name__ for run in runs} == {"Adam", "Sgd"}
    assert {benchmark for run in runs for benchmark in run.benchmarks} == set(matrix.benchmarks)
    assert {matrix.resources(run, "train").memory for run in runs} == {None, "2G"}


def test_the_runs_that_a_run_needs_come_along(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text("""
base: {data: digits, network: small_cnn, optimiser: adam, batch: 64, objective: ceb}
grids:
  - {rho: [5, 4], epochs: 1}
  - {rho: 4, epochs: 3, extends: [[1, 2]]}
  - {rho: 4, epochs: 2, extends: [[1]]}
evaluate:
  - clean: {only: epochs = 3}
  - transfer: {source: rho = 5, norm: linf, eps: 0.1, only: epochs = 3}
""")
    assert [run.name for run in choose_runs(load(path))] == [
        "ceb rho=5 epochs=1", "ceb rho=4 epochs=1", "ceb rho=4 epochs=3 extends=1,2", "ceb rho=4 epochs=2 extends=1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "runs"),
    [("digits", 4), ("imagenet", 14), ("imagenet_v1", 6), ("imagenet_rho0", 3), ("cifar10", 4), ("cifar10_62x7", 3),
     ("cifar10_batchnorm", 2), ("fashion_mnist", 3)],
)  # fmt: skip
def test_the_papers_matrices_take_few(name: str, runs: int) -> None:
    assert len(choose_runs(load(EXPERIMENTS / f"{name}.yaml"))) == runs
