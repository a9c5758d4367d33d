"""The matrices of the two papers: which runs they hold, and that they do what the papers print."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments import published
from experiments.benchmarks import Transfer
from experiments.matrix.load import distinct_networks, load
from experiments.matrix.planned_run import Matrix
from experiments.matrix.spec_fields import schema
from experiments.spec import PgdAdversary, Run, Xent

ROOT = Path(__file__).parents[2]


def _named(name: str) -> Matrix:
    return load(ROOT / "experiments" / f"{name}.yaml")


def _families(name: str, *keys: str) -> Counter:
    return Counter(tuple(run.leaves.get(schema(Run).resolve(key)) for key in keys) for run in _named(name).runs)


def test_the_86_runs_of_v2() -> None:
    families = _families("imagenet", "objective", "depth", "width", "augment")
    shapes = [(d, w, a) for d in (50, 152) for w, a in ((1, "crop_flip"), (1, "autoaugment"), (2, "autoaugment"))]
    assert families == {
        **{("xent", *shape): 1 for shape in shapes},
        **{("ceb", *shape): 10 for shape in shapes},
        **{("cceb", d, 2, "autoaugment"): 10 for d in (50, 152)},
    }
    assert families.total() == 86
    rhos = {run.axes["rho"] for run in _named("imagenet").runs if run.axes["objective"] != "xent"}
    assert rhos == set(range(1, 11))


def test_the_33_runs_of_v1_share_their_baselines_with_v2() -> None:
    assert _families("imagenet_v1", "objective").total() == 33
    first, second = ({run.run_id: run.run for run in _named(name).runs} for name in ("imagenet", "imagenet_v1"))
    assert [first[run_id].objective for run_id in first.keys() & second.keys()] == [Xent()] * 3


def test_the_28_runs_on_cifar10() -> None:
    families = _families("cifar10", "objective", "network.norm", "adversary")
    assert families == {("ceb", "none", "none"): 25, ("xent", "none", "none"): 1, ("xent", "batch", "none"): 1,
                     ("xent", "batch", "pgd"): 1}  # fmt: skip
    (adversarial,) = [run.run for run in _named("cifar10").runs if isinstance(run.run.adversary, PgdAdversary)]
    assert (adversarial.adversary.eps, adversarial.adversary.steps) == (8 / 255, 7)
    sweeps = Counter(len(run.benchmarks) for run in _named("cifar10").runs)
    assert sweeps[max(sweeps)] == 4 and sweeps[min(sweeps)] == 21  # the ceb models of the second figure; the others


@pytest.mark.parametrize(
    ("name", "other", "shared"), [("cifar10", "cifar10_62x7", 1), ("cifar10", "cifar10_batchnorm", 1)]
)
def test_runs_of_two_matrices_are_one(name: str, other: str, shared: int) -> None:
    ids = [{run.run_id for run in _named(stem).runs} for stem in (name, other)]
    assert len(ids[0] & ids[1]) == shared


def test_the_figure_of_v1_is_of_runs_that_other_matrices_train_and_measure() -> None:
    others = {run.run_id: run.benchmarks for name in ("cifar10", "cifar10_62x7") for run in _named(name).runs}
    runs = _named("cifar10_v1").runs
    assert {(run.run.network.width, run.axes.get("rho")) for run in runs} >= {(10, 5), (7, 5), (7, 0)}  # type: ignore[union-attr]
    assert all(set(run.benchmarks) <= set(others[run.run_id]) for run in runs)


def test_transfer_attacks_come_from_the_runs_the_paper_names() -> None:
    matrix = _named("cifar10_62x7")
    (target,) = [run for run in matrix.runs if run.axes.get("rho") == 0]
    sources = {b.source for b in matrix.benchmarks if isinstance(b, Transfer)}
    assert sources == {run.run_id for run in matrix.runs} - {target.run_id}
    assert all(any(isinstance(b, Transfer) for b in run.benchmarks) == (run is target) for run in matrix.runs)


def test_the_runs_of_fashion_mnist_and_of_rho_0() -> None:
    assert _families("fashion_mnist", "objective") == {("xent",): 1, ("ceb",): 13, ("vib",): 13}
    assert _families("imagenet_rho0", "depth", "width", "rho", "weight_decay") == {
        (152, 1, 0.0, 0.0): 1, (50, 1, 0.0, 1e-4): 1, (50, 2, 0.0, 1e-4): 1,
    }  # fmt: skip


def test_networks_are_listed_once() -> None:
    runs = distinct_networks(ROOT / "experiments")
    keys = [(run.data.name, run.network, run.precision) for run in runs]
    assert len(keys) == len(set(keys)) >= 10


PRINTED = ("epochs", "batch", "lr", "factor", "start_rho", "hold_rho", "threshold", "jump_start.steps",
           "jump_start.epochs", "drops.1", "drops.2", "drops.3")  # fmt: skip
"""The settings of `experiments/published/settings.yaml` that are fields of a run."""


@pytest.mark.parametrize(
    ("name", "paper", "settings"),
    [("imagenet", "v2", 7), ("imagenet_v1", "v1", 7), ("cifar10", "v2", 8), ("cifar10_62x7", "v1", 9)],
)
def test_every_setting_that_is_printed_is_kept(name: str, paper: Any, settings: int) -> None:
    checked = set()
    for run in _named(name).runs:
        axes = published.run_fields(run.run)
        for column in PRINTED:
            number = published.lookup(paper, axes, column)
            field, _, index = column.partition(".") if column.startswith("drops") else (column, "", "")
            path = schema(Run).resolve(field)
            if number is None or (path[0] == "objective" and path not in run.leaves):
                continue
            value = run.leaves[path][int(index) - 1] if index else run.leaves[path]
            assert value == pytest.approx(1 / number.value if column == "factor" and number.value > 1 else number.value)
            checked.add(column)
    assert len(checked) >= settings, checked
