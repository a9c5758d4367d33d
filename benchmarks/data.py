"""Images per second: those held in memory against a torchvision DataLoader, those in folders by DALI and torchvision.

    python benchmarks/data.py [--device cpu] [--images 50000] [--repeats 5] [--workers 2]
    python benchmarks/data.py --folders [--device cpu] [--images 1000] [--repeats 5] [--workers 2]

In memory: CIFAR-10's shape, random pixels, batches of 250, crop, flip and AutoAugment's CIFAR policy; to float32 in
[0, 1] on the device. Ours augments whole batches where the images lie, in the process that trains. torchvision's way is
one image at a time, from Pillow, in worker processes, as many as cores. Timed in turn; the ratio is the median over
the rounds.

In folders: the JPEGs of CEBCTL_DATA/imagenet-sample to 224 pixels by both loaders of the engine, batches of 250:
torchvision with Pillow in worker processes, DALI with as many threads. AutoAugment is each one's own family.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from measure import Ratio, both_seconds, head, in_turn, row
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from experiments import datasets
from experiments.spec import AutoAugment, CropFlip, NoAugment
from jobs.engine.data import MemoryImages, batches
from jobs.engine.data.augmentation.augment import Augment
from jobs.engine.data.datasets import other_test_sets

BATCH = 250


def main() -> None:
    """Measure what is asked for, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folders", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    (_folders if asked.folders else _memory)(asked)


def _memory(asked: argparse.Namespace) -> None:
    """Both ways with and without AutoAugment."""
    torch.set_num_threads(1)
    pixels = torch.randint(256, (asked.images, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    info = datasets.info("cifar10")
    images = MemoryImages(info, "train", info.train_digest, torch.arange(asked.images) % 10, pixels)
    split = list(torch.randperm(asked.images).split(BATCH))
    _head("ours", "DataLoader")
    for name, augment, policy in (
        ("crop, flip", CropFlip(), []),
        (
            "crop, flip, AutoAugment",
            AutoAugment(policy="cifar10"),
            [transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10, fill=[128] * 3)],
        ),
    ):
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *policy]
        loader = _loader(images, transforms.Compose([*steps, transforms.ToTensor()]), asked.workers)

        def ours(augment: CropFlip | AutoAugment = augment) -> Iterator[Tensor]:
            return (x_BCHW for _, x_BCHW, _ in batches(images, split, augment, 0, 0, asked.device))

        def theirs(loader: DataLoader[tuple[Tensor, int]] = loader) -> Iterator[Tensor]:
            return (x_BCHW.to(asked.device, non_blocking=True) for x_BCHW, _ in loader)

        _compare(name, ours, theirs, asked.images, asked.repeats)


def _folders(asked: argparse.Namespace) -> None:
    """Both loaders with each augmentation."""
    torch.set_num_threads(asked.workers)
    root = Path(os.environ.get("CEBCTL_DATA", "data"))
    images = other_test_sets.imagenet_sample(root, 224, datasets.info("imagenet"))
    split = list(torch.randperm(len(images))[: asked.images].split(BATCH))
    _head("DALI", "torchvision")
    for name, augments in (
        ("evaluation crop", (NoAugment(), NoAugment())),
        ("crop, flip", (CropFlip(), CropFlip())),
        (
            "crop, flip, AutoAugment",
            (AutoAugment(policy="imagenet", family="v0"), AutoAugment(policy="imagenet")),
        ),
    ):

        def way(loader: Literal["dali", "torchvision"], augment: Augment) -> Callable[[], Iterator[Tensor]]:
            by_it = replace(images, loader=loader)
            return lambda: (x_BCHW for _, x_BCHW, _ in batches(by_it, split, augment, 0, 0, asked.device))

        ways = way("dali", augments[0]), way("torchvision", augments[1])
        _compare(name, *ways, min(asked.images, len(images)), asked.repeats)


def _compare(
    name: str, ours: Callable[[], Iterator[Tensor]], theirs: Callable[[], Iterator[Tensor]], images: int, repeats: int
) -> None:
    """A row: speeds and their ratio by the clock, then of CPU with that of worker processes."""
    found = in_turn([lambda way=way: both_seconds(_through(way)) for way in (ours, theirs)], repeats)
    cells: list[object] = []
    for kind in (0, 1):
        our_seconds, their_seconds = ([one[kind] for one in spent] for spent in found)
        speeds = (f"{images / statistics.median(spent):,.0f}" for spent in (our_seconds, their_seconds))
        cells += [*speeds, Ratio.of(their_seconds, our_seconds)]
    row(name, *cells)


def _head(ours: str, theirs: str) -> None:
    by_clock = (f"images/s, {ours}", theirs, "ratio, by the clock")
    head("augmentation", *by_clock, f"images per CPU second, {ours}", theirs, "ratio, of CPU")


def _through(way: Callable[[], Iterator[Tensor]]) -> Callable[[], None]:
    """One pass."""

    def run() -> None:
        for _ in way():
            pass
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


class _OneByOne(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR10 hands its images out."""

    def __init__(self, images: MemoryImages, transform: Callable[[Image.Image], Tensor]) -> None:
        self._pixels = images.images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels, self._transform = images.labels_N.tolist(), transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


def _loader(
    images: MemoryImages, transform: Callable[[Image.Image], Tensor], workers: int
) -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(
        _OneByOne(images, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


if __name__ == "__main__":
    main()
