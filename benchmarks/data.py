"""The pipeline of images held in memory against a torchvision DataLoader: the same augmentation, images per second.

    python benchmarks/data.py [--device cpu] [--images 10000] [--repeats 5] [--workers 2]

CIFAR-10's shape, random pixels, batches of 250, crop, flip and AutoAugment's CIFAR policy; to float32 in [0, 1] on the
device. Ours augments whole batches where the images lie, in the process that trains. torchvision's way is one image at
a time, from Pillow, in worker processes, as many as cores. Timed in turn; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from experiments import datasets
from experiments.spec import AutoAugment, CropFlip
from jobs.engine.data import MemoryImages, batches

BATCH = 250


def main() -> None:
    """Measure both ways with and without AutoAugment, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pixels = torch.randint(256, (asked.images, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    info = datasets.info("cifar10")
    images = MemoryImages(info, "train", info.train_digest, torch.arange(asked.images) % 10, pixels)
    split = list(torch.randperm(asked.images).split(BATCH))
    print("| augmentation | images/s, ours | DataLoader | ratio | images per CPU second, ours | DataLoader | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
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

        _report(name, [[_time(way) for way in (ours, theirs)] for _ in range(asked.repeats + 1)][1:], asked.images)


def _report(name: str, rounds: list[list[tuple[float, float]]], images: int) -> None:
    cells = [name]
    for kind in (0, 1):
        ours, theirs = ([one[way][kind] for one in rounds] for way in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        cells += [
            f"{images / statistics.median(ours):,.0f}",
            f"{images / statistics.median(theirs):,.0f}",
            f"{ratio:.1f}x",
        ]
    print(f"| {' | '.join(cells)} |", flush=True)


def _time(way: Callable[[], Iterator[Tensor]]) -> tuple[float, float]:
    """Seconds by the clock, and of CPU with those of worker processes, for one pass."""
    before, used = time.perf_counter(), _cpu_seconds()
    for _ in way():
        pass
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - before, _cpu_seconds() - used


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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
