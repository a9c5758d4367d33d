"""The output of `cebctl plan`: one screen, 100 columns wide."""

from __future__ import annotations

from pathlib import Path

import pytest

from cebctl.planning.plan import make_plan
from cebctl.render import plan_view
from experiments import gpus
from experiments.matrix.load import load
from jobs.paths import Home

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize("name", ["imagenet", "imagenet_v1", "cifar10", "cifar10_62x7", "fashion_mnist", "digits"])
def test_a_plan_fits_one_screen(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_view.print_plan(make_plan(load(EXPERIMENTS / f"{name}.yaml"), Home(tmp_path / "home")))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(len(line) for line in lines[1:]) <= 100


def test_what_a_plan_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = load(EXPERIMENTS / "imagenet.yaml").select("depth = 152, width = 2")
    plan_view.print_plan(make_plan(matrix, Home(tmp_path / "home"), gpu="v100-16gb", gpus=32))
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "21 runs", "cceb autoaugment 2 152 rho 1, 2 … 10 10 10 new", "FLOPs: counted operations over",
        "train-1: 21 x train on 8 nodes x 8 a100-80gb", "21 x evaluate on 1 node x 1 a100-80gb",
        "each after its run in train-1", "of checkpoints", "128 images per GPU need", "won't fit v100-16gb",
        "the largest job asks for 64 GPUs at once, more than 32",
    ):  # fmt: skip
        assert words in text


def test_a_plan_says_which_rate_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "measured_rates", lambda: {"h200-141gb": {"bf16": 3e14}})
    matrix = load(EXPERIMENTS / "imagenet.yaml").select("depth = 50")
    for gpu, words in (("h200", "300 TFLOP/s per h200-141gb in bf16 (measured);"), ("a100", "per a100-80gb in bf16;")):
        plan_view.print_plan(make_plan(matrix, Home(tmp_path / "home"), gpu=gpu))
        assert words in " ".join(capsys.readouterr().out.split())


def test_full_lists_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = load(EXPERIMENTS / "digits.yaml")
    plan_view.print_plan(make_plan(matrix, Home(tmp_path / "home")), full=True)
    text = capsys.readouterr().out
    assert all(run.run_id in text for run in matrix.runs)


NORMED = "network: {name: wide_resnet, blocks: 1, width: 1, norm: batch}"
BASE = f"base: {{data: cifar10, {NORMED}, optimiser: adam, epochs: 1, batch: 96, objective: xent}}\n"
TWO_SETS = "when: [{only: seed = 1, train: {gpus_per_node: 4}}]"


@pytest.mark.parametrize(
    ("change", "resources", "words"),
    [
        ("", "{train: {nodes: 2, gpus_per_node: 4}}", "images per GPU are 12 on 8 GPUs,"),
        ("", f"{{train: {{gpus_per_node: 1}}, {TWO_SETS}}}", "images per GPU are 96 on 1 GPU, 24 on 4 GPUs,"),
        ("", f"{{{TWO_SETS}}}", "`replica_batch: 24` or `batch_norm: sync` fixes them"),
        ("seed: [0, 1], batch: [96, 48]", "{train: {gpus_per_node: 2}}", "images per GPU are 48 or 24 on 2 GPUs,"),
        ("", "{train: {gpus_per_node: 1}}", None),
        ("", "{train: {cpus: 4}}", None),
        ("replica_batch: 16", "{train: {gpus_per_node: 4}}", None),
        ("batch_norm: sync", "{train: {gpus_per_node: 4}}", None),
        ("network.norm: none", "{train: {gpus_per_node: 4}}", None),
        ("network: {name: small_cnn}", "{train: {gpus_per_node: 4}}", None),
    ],
)
def test_batch_norm_that_depends_on_resources_is_said(
    change: str, resources: str, words: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.yaml").write_text(f"{BASE}grids: [{{{change or 'seed: [0, 1]'}}}]\nresources: {resources}\n")
    plan_view.print_plan(make_plan(load(tmp_path / "m.yaml"), Home(tmp_path / "home")))
    text = " ".join(capsys.readouterr().out.split())
    assert ("BatchNorm's statistics depend on the number of GPUs" in text) == (words is not None)
    assert words is None or words in text


def test_of_the_papers_matrices_none_trains_another_network_with_more_gpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        matrix = load(path)
        plan_view.print_plan(make_plan(matrix, Home(tmp_path / "home")))
        assert "warning" not in capsys.readouterr().out, path
        more_than_one = [run for run in matrix.runs if matrix.resources(run, "train").gpus > 1]
        assert all(run.run.replica_batch == 128 for run in more_than_one), path


def test_more_gpus_than_parts_of_a_batch_are_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXPERIMENTS / "imagenet_rho0.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text.replace("nodes: 4", "nodes: 9"))
    plan_view.print_plan(make_plan(load(tmp_path / "m.yaml"), Home(tmp_path / "home"), gpus=72))
    text = " ".join(capsys.readouterr().out.split())
    assert "a batch of 8,192 images in 64 parts of 128 is too little for 72 GPUs: ask for at most 64" in text
