"""The header of each matrix names the guesses that its runs rest on, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PAPERS = ("cifar10", "cifar10_62x7", "cifar10_batchnorm", "fashion_mnist", "imagenet", "imagenet_v1", "imagenet_rho0")
CUT_DOWN = ("cifar10_short", "cifar10_smoke")

Run = dict[str, Any]
GUESSES: dict[str, Callable[[Run], bool]] = {
    "(family cifar10_authors)": lambda run: run.get("data.augment.family") == "cifar10_authors",
    "(family imagenet_authors)": lambda run: run.get("data.augment.family") == "imagenet_authors",
    "policy_v0": lambda run: run.get("data.augment.family") == "imagenet_authors",
    "crop at 8 offsets": lambda run: run.get("data.augment.crop_offsets") == 8,
    "Cutout of 16 pixels": lambda run: run.get("data.augment.cutout") == 16,
    "padding in the mean colour": lambda run: run.get("data.augment.fill") == "mean",
    "images are normalised": lambda run: True,
    "antialiasing": lambda run: run["data.name"] == "imagenet",
    "no label smoothing": lambda run: run["data.name"] == "imagenet",
    "replica_batch 128": lambda run: run.get("replica_batch") == 128,
    "scaled initialisation": lambda run: run.get("network.init") == "scaled" and run["network.norm"] == "none",
    "no bias": lambda run: run["network.name"] == "wide_resnet",
    "momentum 0.1 and epsilon 1e-5": lambda run: run.get("network.norm") == "batch",
    "pooled features": lambda run: "network.z_dim" in run and run["network.z_dim"] is None,
    "blocks 10": lambda run: run.get("network.blocks") == 10,
    "its gate reads the accuracy of a whole epoch, on mean encodings": lambda run: jump(run) == "gated",
    "the jump-start moves rho, not gamma": lambda run: jump(run) == "gated",
    "marginal_lr": lambda run: "objective.marginal.marginal_lr" in run,
    "Adam's beta and epsilon": lambda run: run["optimiser.name"] == "adam",
    "weight_decay 0": lambda run: run["optimiser.name"] == "adam",
    "weight_decay 1e-4": lambda run: run["data.name"] == "imagenet" and run["optimiser.weight_decay"] == 1e-4,
    "warmup_epochs 15": lambda run: run["schedule.warmup_epochs"] == 15,
    "fp32": lambda run: run["precision"] == "fp32",
    "bf16": lambda run: run["precision"] == "bf16",
    "the adversarially trained run": lambda run: run["adversary.name"] == "pgd",
}
"""What a header says, where it is true of a run."""


def jump(run: Run) -> str:
    return str(run.get("objective.jump_start.name", "none"))


def guesses(matrix: Matrix) -> str:
    """Return the header's text behind the word, in one line."""
    lines = [line.lstrip("# ") for line in matrix.path.read_text().partition("\ntitle:")[0].splitlines()]
    return " ".join(" ".join(lines).partition("Guesses")[2].split())


@pytest.mark.parametrize("name", PAPERS + CUT_DOWN)
def test_a_header_names_the_guesses_that_apply(name: str) -> None:
    matrix = load(EXPERIMENTS / f"{name}.yaml")
    runs = [{".".join(path): value for path, value in planned.leaves.items()} for planned in matrix.runs]
    applying = {words for words, applies in GUESSES.items() if any(applies(run) for run in runs)}
    assert {words for words in GUESSES if words in guesses(matrix)} == applying


@pytest.mark.parametrize("name", PAPERS + CUT_DOWN)
def test_a_stand_in_for_the_baseline_of_mce_is_one(name: str) -> None:
    matrix = load(EXPERIMENTS / f"{name}.yaml")
    corrupted = any(type(benchmark).__name__ == "CommonCorruptions" for benchmark in matrix.benchmarks)
    guessed = corrupted and matrix.report.mce_baseline == "robustbench-standard"
    assert ("relative to a stand-in" in guesses(matrix)) == guessed
