"""What the runs of the papers' matrices are trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments import datasets
from experiments.matrix.load import load
from experiments.spec import AutoAugment
from jobs.engine.data import MemoryImages, batches

INFO = datasets.info("cifar10")


@pytest.mark.parametrize("name", ["cifar10", "cifar10_62x7", "cifar10_batchnorm"])
def test_of_every_image_of_cifar10_a_square_is_the_mean_colour(name: str) -> None:
    """The authors' code ends in Cutout behind normalisation: in each image at least a quarter of 16x16 pixels is 0."""
    matrix = load(Path(__file__).parents[5] / "experiments" / f"{name}.yaml")
    noise_NCHW = torch.randint(256, (50, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = MemoryImages(INFO, "train", "", torch.arange(50) % 10, noise_NCHW.to(torch.uint8))
    mean_C11 = torch.tensor(INFO.mean)[:, None, None]
    policies = {run.run.data.augment for run in matrix.runs if isinstance(run.run.data.augment, AutoAugment)}
    assert len(policies) == 1
    ((_, x_BCHW, _),) = batches(images, [torch.arange(50)], policies.pop(), 0, 0, "cpu")
    assert ((x_BCHW - mean_C11).abs().amax(dim=1) < 1e-6).sum(dim=(1, 2)).min() >= 64
