"""The states of published test sets, on files of the official layouts; arrays are sparse files of the real size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments import datasets
from experiments.benchmarks import CORRUPTIONS
from experiments.datasets import OTHER_TEST_SETS
from experiments.needed_images import NeededImages
from jobs.datasets.dataset_status import dataset_status
from jobs.datasets.test_sets import images_status


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_cifar10_c_by_its_arrays(tmp_path: Path) -> None:
    needed = NeededImages("cifar10-c", CORRUPTIONS)
    assert images_status(needed, tmp_path).state == "missing"
    for name in CORRUPTIONS:
        sparse(tmp_path / "CIFAR-10-C" / f"{name}.npy", 128 + 50_000 * 32 * 32 * 3)
    status = images_status(needed, tmp_path)
    assert status.state == "missing" and "15 of 16 parts" in status.detail and "labels.npy not" in status.detail
    sparse(tmp_path / "CIFAR-10-C" / "labels.npy", 128 + 50_000)
    assert images_status(needed, tmp_path).state == "ready"
    sparse(tmp_path / "CIFAR-10-C" / "fog.npy", 1000)
    status = images_status(needed, tmp_path)
    assert status.state == "damaged" and "fog.npy is truncated" in status.detail


def test_imagenet_c_by_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHER_TEST_SETS, "imagenet-c", replace(OTHER_TEST_SETS["imagenet-c"], classes=2))
    needed = NeededImages("imagenet-c", ("fog", "frost"))
    for severity in "12345":
        for name in ("n01440764", "n01443537"):
            (tmp_path / "imagenet-c/fog" / severity / name).mkdir(parents=True)
    status = images_status(needed, tmp_path)
    assert status.state == "missing" and "5 of 10 parts" in status.detail
    assert "frost/1 (and 4 more) not" in status.detail and "<corruption>/<severity>/<WordNet id>" in status.detail
    assert images_status(NeededImages("imagenet-c", ("fog",)), tmp_path).state == "ready"
    (tmp_path / "imagenet-c/fog/3/n01443537").rmdir()
    status = images_status(NeededImages("imagenet-c", ("fog",)), tmp_path)
    assert status.state == "damaged" and "fog/3 holds 1 of 2 class folders" in status.detail


def test_one_missing_image_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHER_TEST_SETS, "imagenet-r", replace(OTHER_TEST_SETS["imagenet-r"], classes=1, images=2))
    small = replace(datasets.DATASETS["imagenet"], classes=1, train=2, test=2)
    monkeypatch.setitem(datasets.DATASETS, "imagenet", small)
    for folder in ("imagenet/train", "imagenet/val", "imagenet-r"):
        for name in ("a.JPEG", "b.JPEG"):
            (tmp_path / folder / "n01440764").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "n01440764" / name).touch()
    assert dataset_status("imagenet", tmp_path, count=True).state == "ready"
    assert images_status(NeededImages("imagenet-r"), tmp_path).state == "ready"
    for folder in ("imagenet/train", "imagenet-r"):
        (tmp_path / folder / "n01440764/a.JPEG").unlink()
    status = dataset_status("imagenet", tmp_path, count=True)
    assert status.state == "damaged" and "train holds 1 of 2 images" in status.detail
    assert images_status(NeededImages("imagenet-r"), tmp_path).state == "damaged"
