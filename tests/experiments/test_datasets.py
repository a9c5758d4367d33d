"""The facts about data sets, against torchvision's own copies of the published constants."""

from __future__ import annotations

from hashlib import sha256

import pytest

from experiments import datasets
from jobs.datasets.download import SOURCES


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
    from torchvision.datasets import CIFAR10, CIFAR100, STL10, SVHN, FashionMNIST

    def listed(name: str) -> dict[str, str]:
        return {file.path.split("/")[1]: file.md5 for file in datasets.info(name).files}

    assert listed("cifar10") == dict([*CIFAR10.train_list, *CIFAR10.test_list])
    assert all(file.path.startswith(f"{CIFAR10.base_folder}/") for file in datasets.info("cifar10").files)
    assert listed("fashion_mnist") == dict(FashionMNIST.resources)
    assert listed("cifar100") == dict([*CIFAR100.train_list, *CIFAR100.test_list])
    labelled = [file for file in (*STL10.train_list, *STL10.test_list) if "unlabeled" not in file[0]]
    assert listed("stl10") == dict(labelled)
    assert listed("svhn") == {file: md5 for _, file, md5 in (SVHN.split_list[split] for split in ("train", "test"))}
    archives = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}
    for name, theirs in archives.items():
        source = SOURCES[name]
        assert (f"{source.base}{source.files[0].name}", source.files[0].md5) == (theirs.url, theirs.tgz_md5)
        assert datasets.info(name).folder == theirs.base_folder
    assert {f"{SOURCES['svhn'].base}{file.name}" for file in SOURCES["svhn"].files} == {
        SVHN.split_list[split][0] for split in ("train", "test")
    }
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
        "cifar100": "sha256:d5598b31d3e25",
        "svhn": "sha256:fbf1e76ed023c",
        "fashion_mnist": "sha256:437d886045170",
        "stl10": "sha256:ead9d1f5d6ee5",
        "tiny_imagenet": "tiny-imagenet-200:va",
        "imagenet": "ilsvrc2012:val:1000x",
    }


def test_the_classes_of_imagenet_a_are_those_its_authors_list() -> None:
    """The digest is of the indices that eval.py of github.com/hendrycks/natural-adv-examples maps to a class of its."""
    text = ",".join(map(str, datasets.OTHER_TEST_SETS["imagenet-a"].labels))
    assert sha256(text.encode()).hexdigest()[:16] == "973e8c3e530bf5db"
