"""CIFAR-100, SVHN, STL-10 and Tiny ImageNet in files of their published form, against torchvision's own readers."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR100, STL10, SVHN, ImageFolder

from experiments import datasets
from experiments.errors import InputError
from experiments.spec import Data
from jobs.datasets.dataset_status import dataset_status
from jobs.engine.data import MemoryImages, load

LABELS = "val/val_annotations.txt"
DRAW = np.random.default_rng(0)


def cifar100_file(path: str) -> bytes:
    """With texts as Python 2 pickles them."""
    content = {"data": DRAW.integers(256, size=(6, 3072), dtype=np.uint8), "coarse_labels": [1] * 6}
    pickled = pickle.dumps(content | {"fine_labels": [99, 0, 4, 4, 23, 50]}, protocol=2)
    for name in ("data", "fine_labels", "coarse_labels"):
        text = name.encode()
        pickled = pickled.replace(b"X" + len(text).to_bytes(4, "little") + text, b"U%c%b" % (len(text), text))
    return pickled


def svhn_file(path: str) -> bytes:
    written = io.BytesIO()
    labels = np.array([[10], [1], [2], [9], [10], [5]], dtype=np.uint8)
    savemat(written, {"X": DRAW.integers(256, size=(32, 32, 3, 6), dtype=np.uint8), "y": labels})
    return written.getvalue()


def stl10_file(path: str) -> bytes:
    return bytes([1, 10, 3]) if "_y" in path else DRAW.integers(256, size=3 * 3 * 96 * 96, dtype=np.uint8).tobytes()


def published(root: Path, patch: pytest.MonkeyPatch, name: str, content: Callable[[str], bytes], count: int) -> None:
    files = []
    for file in datasets.info(name).files:
        (root / file.path).parent.mkdir(exist_ok=True)
        (root / file.path).write_bytes(content(file.path))
        files.append(replace(file, md5=hashlib.md5((root / file.path).read_bytes()).hexdigest()))
    info = replace(datasets.info(name), files=tuple(files), train=count, test=count)
    patch.setitem(datasets.DATASETS, name, info)


READERS: dict[str, tuple[Callable[[str], bytes], int, Callable[[Path, str], Any]]] = {
    "cifar100": (cifar100_file, 6, lambda root, split: CIFAR100(root, train=split == "train")),
    "svhn": (svhn_file, 6, lambda root, split: SVHN(root / "svhn", split=split)),
    "stl10": (stl10_file, 3, lambda root, split: STL10(root, split=split)),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", READERS)
def test_images_and_labels_are_those_that_torchvision_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, split: Any
) -> None:
    content, count, torchvisions = READERS[name]
    published(tmp_path, monkeypatch, name, content, count)
    for module in ("cifar", "svhn", "stl10"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)
    monkeypatch.setattr(CIFAR100, "_load_meta", lambda self: None)
    monkeypatch.setattr(STL10, "_STL10__load_folds", lambda self, folds: None)
    ours, theirs = load(Data(name=name), split, tmp_path), torchvisions(tmp_path, split)
    assert isinstance(ours, MemoryImages) and len(ours) == len(theirs) == count
    for image_CHW, label, (their_image, their_label) in zip(ours.images_NCHW, ours.labels_N, theirs, strict=False):
        assert np.array_equal(image_CHW.permute(1, 2, 0).numpy(), np.asarray(their_image)) and label == their_label


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    published(tmp_path, monkeypatch, name, *READERS[name][:2])
    path = tmp_path / datasets.info(name).split_files("test")[0].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{path}.*truncated or changed; .*`cebctl data fetch {name}`"):
        load(Data(name=name), "test", tmp_path)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny ImageNet of three classes, two training images each, and three validation images."""
    folder, names = tmp_path / "tiny-imagenet-200", ("n03000000", "n01000000", "n02000000")
    lines = []
    (folder / "val" / "images").mkdir(parents=True)
    for number, name in enumerate(names):
        (folder / "train" / name / "images").mkdir(parents=True)
        for index in range(2):
            image = Image.fromarray(DRAW.integers(256, size=(64, 64, 3), dtype=np.uint8))
            image.convert("L" if index else "RGB").save(folder / "train" / name / "images" / f"{name}_{index}.JPEG")
        image.save(folder / "val" / "images" / f"val_{2 - number}.JPEG")
        lines.append(f"val_{2 - number}.JPEG\t{name}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    info = replace(datasets.info("tiny_imagenet"), classes=3, train=6, test=3)
    monkeypatch.setitem(datasets.DATASETS, "tiny_imagenet", info)
    return tmp_path


def test_tiny_imagenets_training_images_are_those_of_an_image_folder(tiny: Path) -> None:
    ours, theirs = load(Data(name="tiny_imagenet"), "train", tiny), ImageFolder(tiny / "tiny-imagenet-200" / "train")
    assert isinstance(ours, MemoryImages)
    for image_CHW, label, (their_image, their_label) in zip(ours.images_NCHW, ours.labels_N, theirs, strict=False):
        assert np.array_equal(image_CHW.permute(1, 2, 0).numpy(), np.asarray(their_image)) and label == their_label
    assert dataset_status("tiny_imagenet", tiny).state == "ready"


def test_its_validation_images_have_the_labels_of_their_file(tiny: Path) -> None:
    images = load(Data(name="tiny_imagenet"), "test", tiny)
    assert isinstance(images, MemoryImages) and images.labels_N.tolist() == [1, 0, 2]
    with Image.open(tiny / "tiny-imagenet-200/val/images/val_0.JPEG") as image:
        assert torch.equal(images.images_NCHW[0].permute(1, 2, 0), torch.from_numpy(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: (f / "val/val_annotations.txt").unlink(),
            "val_annotations.txt: No such file .*tiny-imagenet-200.zip",
        ),
        (
            lambda f: (f / "val/val_annotations.txt").write_text("val_0.JPEG\n"),
            "line 1 names no class; expected: file,",
        ),
        (lambda f: (f / "val/val_annotations.txt").write_text(""), "0 images of the split test; 3 were published"),
        (lambda f: (f / "val/images/val_1.JPEG").write_bytes(b"no"), "val_1.JPEG: no image that can be read"),
        (lambda f: (f / "val/images/val_1.JPEG").unlink(), "val_1.JPEG: .*No such file"),
        (lambda f: Image.new("RGB", (64, 63)).save(f / "val/images/val_1.JPEG"), "64x63 pixels; expected 64x64"),
        (lambda f: (f / "train/n02000000").rename(f / "train/mine"), "2 folders named by a WordNet id; 3 are expected"),
    ],
)
def test_what_is_wrong_with_it_is_named(tiny: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(tiny / "tiny-imagenet-200")
    with pytest.raises(InputError, match=message):
        load(Data(name="tiny_imagenet"), "test", tiny)
