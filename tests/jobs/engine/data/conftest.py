"""Data folders: small ones in the published formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import datasets
from experiments.datasets import DataFile, DatasetInfo


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


Declare = Callable[..., DatasetInfo]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Change what is declared about a data set."""

    def change(name: str, **facts: object) -> DatasetInfo:
        changed = replace(datasets.info(name), **facts)  # type: ignore[arg-type]
        monkeypatch.setitem(datasets.DATASETS, name, changed)
        return changed

    return change


def write(root: Path, declared: DataFile, content: bytes) -> DataFile:
    path = root / declared.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return replace(declared, md5=hashlib.md5(content).hexdigest())


@pytest.fixture
def small_cifar10(tmp_path: Path, declare: Declare) -> Path:
    """Random images in the format of the python batches: four in each file."""
    draw, files = np.random.default_rng(0), []
    for file in datasets.info("cifar10").files:
        batch = {b"data": draw.integers(256, size=(4, 3072), dtype=np.uint8), b"labels": [3, 1, 4, 1]}
        files.append(write(tmp_path, file, pickle.dumps(batch, protocol=2)))
    declare("cifar10", files=tuple(files), train=20, test=4)
    return tmp_path


@pytest.fixture
def small_fashion_mnist(tmp_path: Path, declare: Declare) -> Path:
    """Five images in the IDX format, the i-th full of i, with label i."""
    files = []
    for file in datasets.info("fashion_mnist").files:
        pixels = np.repeat(np.arange(5, dtype=np.uint8), 1 if "labels" in file.path else 28 * 28)
        shape = (5,) if "labels" in file.path else (5, 28, 28)
        header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)
        files.append(write(tmp_path, file, gzip.compress(header + pixels.tobytes())))
    declare("fashion_mnist", files=tuple(files), train=5, test=5)
    return tmp_path


@pytest.fixture
def small_cifar10_jpeg(tmp_path: Path, declare: Declare) -> Path:
    """Two images of each class and split; the digest is that of `jpeg_digest`."""
    info, draw = datasets.info("cifar10-jpeg"), np.random.default_rng(0)
    for split in ("train", "test"):
        for name in [f"{class_name}/{index:04}.jpg" for class_name in info.class_names for index in range(2)]:
            path = tmp_path / info.folder / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
    digests = {split: jpeg_digest(tmp_path / info.folder / split) for split in ("train", "test")}
    declare("cifar10-jpeg", train=20, test=20, train_digest=digests["train"], digest=digests["test"])
    return tmp_path


def jpeg_digest(folder: Path) -> str:
    """The digest as `DatasetInfo.source` words it."""
    stream = io.BytesIO()
    for name in sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg")):
        content = (folder / name).read_bytes()
        stream.write(name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    return "sha256:" + hashlib.sha256(stream.getvalue()).hexdigest()


@pytest.fixture
def small_imagenet(tmp_path: Path, declare: Declare) -> Path:
    """Three classes of 16 JPEGs, 60 to 110 pixels wide, for a network that sees 32x32."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for class_name in ("n02000000", "n01000000", "n10000000"):
            folder = tmp_path / "imagenet" / split / class_name
            folder.mkdir(parents=True)
            for index in range(16):
                size = (*draw.integers(60, 110, size=2), 3)
                smooth = Image.fromarray(draw.integers(256, size=(4, 4, 3), dtype=np.uint8)).resize(size[1::-1])
                smooth.save(folder / f"{class_name}_{index}.JPEG")
    declare("imagenet", classes=3, train=48, test=48, size=32)
    return tmp_path
