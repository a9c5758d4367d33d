"""RandAugment, TrivialAugment and AugMix are torchvision's, drawn by (seed, epoch, sample) alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import transforms

from experiments import datasets, spec
from jobs.engine.data import MemoryImages, batches
from jobs.engine.data.augmentation.augment import crop_flip, sample_seeds

KINDS: list[tuple[Any, Any]] = [
    (spec.RandAugment(), transforms.RandAugment(num_ops=2, magnitude=9)),
    (spec.RandAugment(operations=3, magnitude=14), transforms.RandAugment(num_ops=3, magnitude=14)),
    (spec.TrivialAugment(), transforms.TrivialAugmentWide()),
    (spec.AugMix(), transforms.AugMix()),
    (
        spec.AugMix(severity=5, chains=2, chain_length=3, alpha=0.3),
        transforms.AugMix(severity=5, mixture_width=2, chain_depth=3, alpha=0.3),
    ),
]
INFO = datasets.info("cifar10")


def images(count: int = 12) -> MemoryImages:
    draw = torch.Generator().manual_seed(0)
    pixels_NCHW = torch.randint(256, (count, 3, 32, 32), generator=draw, dtype=torch.uint8)
    return MemoryImages(INFO, "train", "", torch.arange(count) % 10, pixels_NCHW)


def made(augment: Any, index_batches: list[list[int]], epoch: int = 2, workers: int = 0) -> dict[int, Tensor]:
    indices = [torch.tensor(batch) for batch in index_batches]
    drawn = batches(images(), indices, augment, 3, epoch, "cpu", workers=workers)
    return {
        int(sample): x_CHW for samples_B, x_BCHW, _ in drawn for sample, x_CHW in zip(samples_B, x_BCHW, strict=True)
    }


@pytest.mark.parametrize(("augment", "torchvisions"), KINDS)
def test_each_image_is_torchvisions_behind_crop_and_flip(augment: Any, torchvisions: Any) -> None:
    samples_B = torch.arange(12)
    cropped_BCHW = crop_flip(images().images_NCHW, INFO, 3, 2, samples_B)
    for sample, sample_seed in enumerate(sample_seeds(3, 2, samples_B)):
        with torch.random.fork_rng():
            torch.manual_seed(sample_seed)
            expected_CHW = torchvisions(cropped_BCHW[sample])
        assert torch.equal(made(augment, [[sample]])[sample], expected_CHW.float() / 255)


@pytest.mark.parametrize("augment", [spec.RandAugment(), spec.TrivialAugment(), spec.AugMix()])
def test_an_image_depends_neither_on_its_batch_nor_on_workers_but_on_the_epoch(augment: Any) -> None:
    whole = made(augment, [list(range(12))])
    before = torch.random.get_rng_state()
    for other in (made(augment, [[7, 3, 11], [0], [5, 4]]), made(augment, [[2, 9], [3, 8]], workers=2)):
        assert all(torch.equal(x_CHW, whole[sample]) for sample, x_CHW in other.items())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(
        torch.stack([*made(augment, [list(range(12))], epoch=3).values()]), torch.stack([*whole.values()])
    )
