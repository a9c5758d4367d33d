"""What `cebctl plan` prints: on one screen, 100 columns wide."""

from __future__ import annotations

from pathlib import Path

import pytest

from cebctl.control.planning import make_plan
from cebctl.render import plan_view
from experiments.matrix import load
from jobs.home import Home

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize("name", ["imagenet", "imagenet_v1", "cifar10", "cifar10_62x7", "fashion_mnist", "digits"])
def test_a_plan_fits_one_screen(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_view.show(make_plan(load(EXPERIMENTS / f"{name}.yaml"), Home(tmp_path / "home")))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(len(line) for line in lines[1:]) <= 100


def test_what_a_plan_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = load(EXPERIMENTS / "imagenet.yaml").only("depth = 152, width = 2")
    plan_view.show(make_plan(matrix, Home(tmp_path / "home"), gpu="v100-16gb", gpus=32))
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "21 runs", "cceb autoaugment 2 152 rho 1, 2 … 10 10 10 new", "FLOPs: counted operations over",
        "train-1: 21 x train on 8 nodes x 8 a100-80gb", "21 x evaluate on 1 node x 1 a100-80gb",
        "each after its run in train-1", "of checkpoints", "128 images per GPU need", "won't fit v100-16gb",
        "the largest job asks for 64 GPUs at once, more than 32",
    ):  # fmt: skip
        assert words in text


def test_full_lists_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = load(EXPERIMENTS / "digits.yaml")
    plan_view.show(make_plan(matrix, Home(tmp_path / "home")), full=True)
    text = capsys.readouterr().out
    assert all(run.run_id in text for run in matrix.runs)
