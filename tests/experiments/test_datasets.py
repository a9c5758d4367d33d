"""The facts about data sets, against torchvision's own copies of the published constants."""

from __future__ import annotations

from hashlib import sha256

import pytest

from experiments import datasets


@pytest.mark.parametrize("info", datasets.DATASETS.values(), ids=lambda info: info.name)
def test_every_data_set_is_described_in_full(info: datasets.DatasetInfo) -> None:
    assert len(info.mean) == len(info.std) == info.channels
    assert info.split_digest("test") == info.digest != info.train_digest == info.split_digest("train")
    assert (info.images("train"), info.images("test")) == (info.train, info.test)
    assert len(info.class_names) in (0, info.classes)
    assert bool(info.folder) == (info.name != "digits")
    assert all(file.path.startswith(f"{info.folder}/") for file in info.files)
    assert info.source and info.obtain


def test_md5s_are_those_torchvision_knows() -> None:
    from torchvision.datasets import CIFAR10, FashionMNIST

    def listed(name: str) -> dict[str, str]:
        return {file.path.split("/")[1]: file.md5 for file in datasets.info(name).files}

    assert listed("cifar10") == dict([*CIFAR10.train_list, *CIFAR10.test_list])
    assert all(file.path.startswith(f"{CIFAR10.base_folder}/") for file in datasets.info("cifar10").files)
    assert listed("fashion_mnist") == dict(FashionMNIST.resources)
    test_files = datasets.info("fashion_mnist").split_files("test")
    assert [file.path.split("/")[1] for file in test_files] == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]


def test_digests_of_known_files_do_not_drift() -> None:
    """An evaluation's identity rests on them: a change makes every result of the data set another one."""
    assert {name: info.digest[:20] for name, info in datasets.DATASETS.items()} == {
        "digits": "sha256:7985de38aae25",
        "cifar10": "sha256:d14e3bb3daa66",
        "cifar10-jpeg": "sha256:35670a5f48250",
        "fashion_mnist": "sha256:437d886045170",
        "imagenet": "ilsvrc2012:val:1000x",
    }


def test_the_classes_of_imagenet_a_are_those_its_authors_list() -> None:
    """The digest is of the indices that eval.py of github.com/hendrycks/natural-adv-examples maps to a class of its."""
    text = ",".join(map(str, datasets.OTHER_TEST_SETS["imagenet-a"].labels))
    assert sha256(text.encode()).hexdigest()[:16] == "973e8c3e530bf5db"
