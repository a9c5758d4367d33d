"""Miniature data of the official layouts: every file and folder that is counted, of a few images.

Folders of classes are links to one folder of links to the same few files, so that ImageNet with all its 1,281,167
names, and ImageNet-C with 3.75 million, are a few thousand entries. Labels mean nothing in them. How many images there
are is what `experiments.datasets` says, of which a test may have a copy with smaller numbers.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from experiments import datasets
from experiments.benchmarks import CORRUPTIONS
from experiments.datasets import OTHER_TEST_SETS


def imagenet(root: Path, photographs: Sequence[Path] = ()) -> None:
    """Write ILSVRC 2012 and its other test sets under `root`, of these photographs or, without any, of noise."""
    info = datasets.info("imagenet")
    wordnet_ids = [f"n{number:08}" for number in range(1, info.classes + 1)]
    files = list(photographs) or _noise(root / "files", 260)
    cropped = _cropped(root / "cropped", files[:50], info.size)
    _classes(root / "imagenet" / "train", wordnet_ids, info.train, files)
    _classes(root / "imagenet" / "val", wordnet_ids, info.test, files)
    _classes(root / "imagenet-c" / ".every", wordnet_ids, info.test, cropped)
    for name in CORRUPTIONS:
        (root / "imagenet-c" / name).mkdir()
        for severity in map(str, range(1, 6)):
            (root / "imagenet-c" / name / severity).symlink_to(root / "imagenet-c" / ".every")
    for declared in OTHER_TEST_SETS.values():
        if not declared.name.startswith(("imagenet-c", "imagenet-3dcc", "cifar10", "imagenet-sample")):
            labels = declared.labels or range(declared.classes)
            numbered = declared.name.startswith("imagenet-v2")
            names = [str(label) if numbered else wordnet_ids[label] for label in labels]
            _classes(root / declared.folder, names, declared.images, files)


def cifar10(root: Path) -> None:
    """Write CIFAR-10, CIFAR-10-C and CIFAR-10.1 under `root`, of noise: 20 images in each file of CIFAR-10."""
    draw = np.random.default_rng(0)
    for file in datasets.info("cifar10").files:
        batch = {b"data": draw.integers(256, size=(20, 3072), dtype=np.uint8), b"labels": [*range(10), *range(10)]}
        _write(root / file.path, pickle.dumps(batch, protocol=2))
    images = OTHER_TEST_SETS["cifar10-c"].images
    pixels_NHWC = draw.integers(256, size=(5 * images, 32, 32, 3), dtype=np.uint8)
    (root / "CIFAR-10-C").mkdir()
    for name in CORRUPTIONS:
        np.save(root / "CIFAR-10-C" / f"{name}.npy", pixels_NHWC)
    np.save(root / "CIFAR-10-C" / "labels.npy", np.arange(5 * images) % 10)
    (root / "cifar10.1").mkdir()
    for version in ("v4", "v6"):
        count = OTHER_TEST_SETS[f"cifar10.1-{version}"].images
        pixels_NHWC = draw.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        np.save(root / "cifar10.1" / f"cifar10.1_{version}_data.npy", pixels_NHWC)
        np.save(root / "cifar10.1" / f"cifar10.1_{version}_labels.npy", np.arange(count) % 10)


def fashion_mnist(root: Path) -> None:
    """Write Fashion-MNIST under `root`, of noise."""
    draw = np.random.default_rng(0)
    info = datasets.info("fashion_mnist")
    for file in info.files:
        count = info.images(file.split)
        shape = (count,) if "labels" in file.path else (count, 28, 28)
        values = np.arange(count) % 10 if "labels" in file.path else draw.integers(256, size=shape)
        header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)
        _write(root / file.path, gzip.compress(header + values.astype(np.uint8).tobytes()))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _noise(folder: Path, side: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.JPEG" for number in range(50)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((side, side)).save(path)
    return paths


def _cropped(folder: Path, files: Sequence[Path], size: int) -> list[Path]:
    """Write the files at the size that a network sees, as ImageNet-C has them."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.JPEG" for number in range(len(files))]
    for file, path in zip(files, paths, strict=True):
        with Image.open(file) as image:
            image.convert("RGB").resize((size, size)).save(path)
    return paths


def _classes(folder: Path, names: Sequence[str], images: int, files: Sequence[Path]) -> None:
    """Write a folder for each name, with so many images in all, spread as evenly as they can be."""
    folder.mkdir(parents=True)
    fewer, rest = divmod(images, len(names))
    for name, count in zip(names, _counts(len(names), fewer, rest), strict=True):
        # Beside the folder that is listed, where a link to it may stand in many sets.
        shared = folder.parent / f".{folder.name}-{count}"
        if not shared.exists():
            shared.mkdir()
            for number, file in enumerate(islice(cycle(files), count)):
                (shared / f"{number:04}.JPEG").symlink_to(file)
        (folder / name).symlink_to(shared)


def _counts(names: int, fewer: int, rest: int) -> Iterator[int]:
    yield from (fewer + (index < rest) for index in range(names))


def declare_files(root: Path, facts: Path) -> None:
    """Write the checksums of the files under `root` into `facts`, a copy of `experiments/datasets.py`."""
    text = facts.read_text()
    for file in (*datasets.info("cifar10").files, *datasets.info("fashion_mnist").files):
        text = text.replace(file.md5, hashlib.md5((root / file.path).read_bytes()).hexdigest())
    facts.write_text(text)


if __name__ == "__main__":  # by the facts of a copy of the checkout, from its folder
    data = Path("data")
    imagenet(data.absolute())
    cifar10(data)
    fashion_mnist(data)
    declare_files(data, Path(datasets.__file__))
