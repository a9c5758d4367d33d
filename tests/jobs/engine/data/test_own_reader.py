"""Images that a function of one's own reads: what is described, what is refused, and what a job meets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs

from experiments import datasets, own_dataset
from experiments.errors import InputError
from experiments.spec import Data, Part
from jobs import own_parts
from jobs.engine.data import load
from jobs.engine.data.datasets.own_reader import describe
from jobs.own_parts import PartError

READER = '''
import numpy as np
import torch
rng = np.random.default_rng(0)
def scans(split, root, count: int = 6):
    if split == "test":
        return np.full((4, 3, 4, 4), 7, np.uint8), ["dog", "dog", "cat", "eel"]
    return rng.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8), ["cat", "dog", "eel"] * 2
def from_root(split, root):
    labels = [int(line) for line in (root / "labels.txt").read_text().split()]
    return torch.full((len(labels), 1, 2, 2), 9, dtype=torch.uint8), torch.tensor(labels)
def floats(split, root): return np.zeros((2, 1, 4, 4)), [0, 1]
def last(split, root): return np.zeros((2, 4, 4, 3), np.uint8), [0, 1]
def wide(split, root): return np.zeros((2, 1, 4, 5), np.uint8), [0, 1]
def few(split, root): return np.zeros((2, 1, 4, 4), np.uint8), [0]
def parts(split, root): return np.zeros((2, 1, 4, 4), np.uint8), [0.5, 1.5]
def one(split, root): return np.zeros((2, 1, 4, 4), np.uint8), [0, 0]
def unseen(split, root): return np.zeros((2, 1, 4, 4), np.uint8), [0, 1] if split == "train" else [0, 2]
def sizes(split, root): return np.zeros((2, 1, 4 + len(split) % 2, 4 + len(split) % 2), np.uint8), [0, 1]
def images(split, root): return np.zeros((2, 1, 4, 4), np.uint8)
'''  # fmt: skip


@pytest.fixture
def reader(own_part: Any) -> Callable[[str], Part]:
    return lambda name: own_part(READER, name, "data")


@pytest.fixture
def described(reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The name of the data set that a reader reads, described under CEBCTL_DATA."""
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path))

    def described(name: str) -> str:
        part = reader(name)
        description = describe(part, tmp_path)
        dataset = own_dataset.dataset_name(name, description)
        own_dataset.write(dataset, description)
        key = own_parts.key(part.origin, part.digest)
        target = own_dataset.sources_path(dataset) / own_parts.FOLDER / key
        target.parent.mkdir(parents=True)
        (tmp_path / "snapshot" / own_parts.FOLDER / key).rename(target)
        return dataset

    return described


def test_the_facts_are_those_of_the_images(reader: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0\n10\n2\n")
    description = describe(reader("from_root"), tmp_path)
    assert description.class_names == ("0", "2", "10")  # numbers in their order
    assert (description.channels, description.size, description.train, description.test) == (1, 2, 3, 3)
    assert (description.mean, description.std, description.flips) == ((round(9 / 255, 4),), (1e-4,), False)
    colour = describe(reader("scans"), tmp_path)
    assert (colour.class_names, len(colour.mean), colour.flips) == (("cat", "dog", "eel"), 3, True)


def test_a_job_reads_the_images_that_were_described(described: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0\n10\n2\n")
    data = Data(name=described("from_root"))
    images = load(data, "train", tmp_path)
    assert torch.equal(images.labels_N, torch.tensor([0, 2, 1])) and len(images) == datasets.info(data.name).train
    assert images.digest == datasets.info(data.name).train_digest
    for text, wrong in (("0\n2\n10\n", "its train images are not those"), ("0\n10\n3\n", "a label '3' that own:")):
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(InputError, match=wrong):
            load(data, "train", tmp_path)


def test_the_reader_is_no_part_of_the_identity(reader: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0\n1\n")
    description = describe(reader("from_root"), tmp_path)
    other = structs.replace(description, reader=own_dataset.Reader(origin="x.py:y", digest="d"))
    assert own_dataset.dataset_name("a", description) == own_dataset.dataset_name("a", other)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("images", r"returns ndarray; expected \(images, labels\)"),
        ("floats", r"returns images as float64 of shape \(2, 1, 4, 4\); expected uint8"),
        ("last", r"uint8 of shape \(2, 4, 4, 3\); expected uint8 of shape \(N, C, H, W\)"),
        ("wide", "C 1 or 3, H = W"),
        ("few", r"returns labels as int64 of shape \(1,\); expected a number or name for each of 2 images"),
        ("parts", r"returns labels as float64"),
        ("one", "returns 1 class; expected two or more"),
        ("unseen", "returns test images of '2', a class without training images"),
        ("sizes", r"returns training images \(1, 5, 5\) and test images \(1, 4, 4\); expected one shape"),
    ],
)
def test_what_is_no_data_set_is_told_what_was_expected(name: str, wrong: str, reader: Any, tmp_path: Path) -> None:
    with pytest.raises(PartError, match=rf"^parts\.py:{name}: .*{wrong}"):
        describe(reader(name), tmp_path)
