"""Whether the published images of a benchmark are there, by a look at their folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import (
    CORRUPTIONS,
    AnyBenchmark,
    Cifar101,
    Clean,
    CommonCorruptions,
    Imagenet3dcc,
    ImagenetA,
    ImagenetV2,
    OutOfDistribution,
    Pgd,
)
from jobs.datasets.benchmark_images import missing_images


@pytest.mark.parametrize(
    "benchmark",
    [Clean(), Pgd("linf", 0.1), CommonCorruptions("in-memory"), CommonCorruptions("regenerated"),
     OutOfDistribution("digits"), OutOfDistribution("photographs")],
)  # fmt: skip
def test_those_without_images_of_their_own_miss_nothing(benchmark: AnyBenchmark, tmp_path: Path) -> None:
    assert missing_images(benchmark, "imagenet", tmp_path) == ""


@pytest.mark.parametrize(
    ("benchmark", "data", "said"),
    [
        (ImagenetA(), "imagenet", "imagenet-a does not exist; get it with the archive of ImageNet-A"),
        (ImagenetV2("top-images"), "imagenet", "imagenetv2-top-images-format-val does not exist"),
        (Imagenet3dcc(), "imagenet", "ImageNet-3DCC/near_focus/1 and 59 more does not exist"),
        (CommonCorruptions("official"), "imagenet", "imagenet-c/gaussian_noise/1 and 74 more does not exist"),
        (CommonCorruptions("official"), "cifar10-jpeg", "CIFAR-10-C/gaussian_noise.npy and 15 more does not exist"),
        (Cifar101("v4"), "cifar10", "cifar10.1/cifar10.1_v4_data.npy and 1 more does not exist"),
        (OutOfDistribution("imagenet-sample"), "digits", "imagenet-sample/val does not exist"),
        (OutOfDistribution("cifar10"), "digits", "cifar-10-batches-py does not exist"),
    ],
)
def test_what_is_missing_is_named(benchmark: AnyBenchmark, data: str, said: str, tmp_path: Path) -> None:
    assert said in missing_images(benchmark, data, tmp_path)


def test_a_single_missing_set_is_found(tmp_path: Path) -> None:
    for name in CORRUPTIONS:
        for severity in range(1, 6):
            (tmp_path / "imagenet-c" / name / str(severity)).mkdir(parents=True)
    assert missing_images(CommonCorruptions("official"), "imagenet", tmp_path) == ""
    (tmp_path / "imagenet-c" / "fog" / "3").rmdir()
    assert "imagenet-c/fog/3 does not exist" in missing_images(CommonCorruptions("official"), "imagenet", tmp_path)
