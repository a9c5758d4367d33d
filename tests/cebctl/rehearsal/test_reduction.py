"""A matrix at a small size: what is scaled, what stays, and that it is a matrix like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import UNSET, structs

from cebctl.rehearsal.reduction import reduce_matrix, reduce_run
from experiments import consistency, jump_start_checks, lineage
from experiments.benchmarks import Clean, Pgd, Transfer
from experiments.identity import run_id
from experiments.matrix.load import load

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
PAPERS = ("imagenet", "imagenet_v1", "imagenet_rho0", "cifar10", "cifar10_62x7", "cifar10_batchnorm", "fashion_mnist")


@pytest.mark.parametrize("name", [*PAPERS, "digits", "cifar10_short", "claims/digits_robustness"])
def test_every_run_of_a_paper_reaches_its_target_in_a_few_steps(name: str) -> None:
    full = load(EXPERIMENTS / f"{name}.yaml")
    small = reduce_matrix(full)
    assert (
        not small.claims
        and small.title.startswith("REHEARSAL: ")
        and not {run.run_id for run in small.runs} & {run.run_id for run in full.runs}
    )
    for planned in small.runs:
        run = planned.run
        assert planned.run_id == run_id(run) and consistency.contradiction(run) is None
        assert run.epochs * run.data.train_subset <= 32 and run.data.train_subset == run.batch
        assert [text for text in jump_start_checks.ineffective_settings(run) if "reached" not in text] == []
        assert all(getattr(benchmark, "subset", 4) == 4 for benchmark in planned.benchmarks)


def test_the_schedule_is_scaled_along() -> None:
    run = next(run.run for run in load(EXPERIMENTS / "imagenet.yaml").runs if run.name.startswith("ceb"))
    small = reduce_run(run)
    assert (small.epochs, small.batch, small.replica_batch) == (3, 4, 2)
    assert small.schedule.warmup_epochs == pytest.approx(15 / 90)
    assert small.schedule.drops == pytest.approx((1, 2, 240 / 90))
    assert small.objective.jump_start.steps == 1 and small.objective.rho == run.objective.rho
    assert reduce_run(run, keep_batch=True).batch == 8192 == reduce_run(run, keep_batch=True).data.train_subset


def test_a_setting_without_effect_has_none_in_small_either() -> None:
    run = next(run.run for run in load(EXPERIMENTS / "imagenet.yaml").runs if run.name.startswith("ceb"))
    endless = structs.replace(run, objective=structs.replace(
        run.objective, jump_start=structs.replace(run.objective.jump_start, steps=10**6)))  # fmt: skip
    assert any("never in force" in text for text in jump_start_checks.ineffective_settings(reduce_run(endless)))


def test_extended_runs_go_on_from_reduced_ones(tmp_path: Path) -> None:
    path = tmp_path / "extended.yaml"
    path.write_text("""
base: {data: digits, network: small_cnn, optimiser: adam, batch: 64, objective: ceb, rho: 3, epochs: 9, extends: [4, 6]}
evaluate: [clean]
""")
    *ancestors, last = (planned.run for planned in reduce_matrix(load(path)).runs)
    assert [run_id(run) for run in lineage.ancestors(last)] == [run_id(run) for run in ancestors]
    assert [(run.epochs, run.extends) for run in (*ancestors, last)] == [(2, UNSET), (4, (2,)), (6, (2, 4))]


def test_transfers_have_their_source_and_requests_their_runs(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("""
base: {data: digits, network: small_cnn, optimiser: adam, batch: 64, epochs: 5, objective: ceb}
grids: [{rho: [0, 5]}]
evaluate:
  - clean
  - pgd: {norm: linf, eps: [0.1, 0.2], steps: 3, subset: 20}
  - transfer: {source: rho = 5, norm: linf, eps: 0.1, only: rho = 0}
resources: {when: [{only: "batch = 64, epochs = 5, rho = 0", train: {partition: here}}]}
report: {columns: [clean, "pgd_linf@eps=0.2,n=3,subset=20", pgd_linf]}
""")
    small = reduce_matrix(load(path), images=3)
    attacked, source = small.runs
    assert small.resources(attacked, "train").partition == "here" and not small.resources(source, "train").partition
    assert [b.source for b in attacked.benchmarks if isinstance(b, Transfer)] == [source.run_id]
    assert {b.subset for b in small.benchmarks if isinstance(b, Pgd)} == {3} and Clean(subset=3) in small.benchmarks
    assert small.report.columns == ("clean", "pgd_linf@eps=0.2,n=3,subset=3", "pgd_linf")


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        """
base: {data: digits, network: small_cnn, optimiser: adam, batch: 64, epochs: 5}
evaluate: [clean, ood: {against: cifar10}]
report: {columns: [clean, ood_auroc]}
""".replace("epochs: 5", "epochs: 5, objective: xent")
    )
    full = load(path)
    small = reduce_matrix(full, without={(full.benchmarks[1], "digits"): "not there"})
    assert small.benchmarks == small.runs[0].benchmarks == (Clean(subset=4),) and small.report.columns == ("clean",)
