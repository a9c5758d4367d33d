"""Pins of what makes images: random numbers, data sets, resizing, augmentation, corruptions."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from torch import Tensor

from experiments import datasets, own_dataset, spec
from experiments.datasets import OTHER_TEST_SETS
from jobs.datasets import image_folder
from jobs.engine import randomness
from jobs.engine.corruptions import SEED, SEVERITIES, Corruption
from jobs.engine.data import ImageSet, batches, dali, load
from jobs.engine.data.augmentation import augment, autoaugment, erasing
from jobs.engine.data.augmentation.autoaugment_policies import CIFAR10_AUTHORS, IMAGENET_AUTHORS, SubPolicy
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.data.images import FolderImages, balanced_indices
from jobs.engine.data.resized import Resize, photographs
from jobs.engine.evaluation.evaluators import EvaluationContext, corrupted
from jobs.engine.training import encoder_noise
from jobs.engine.training.epoch_sampler import EpochSampler
from tests.jobs.engine.golden.pins import EXACT, PIXELS, Room, close, pin

SAMPLES_B = torch.tensor([0, 1, 2, 500, 10**6, 2**40])
NAMES = ("n01000000", "n02000000", "n10000000")


def photograph(side: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Return an image with smooth parts, edges and noise, of shape (side, side, channels)."""
    draw = np.random.default_rng(seed)
    places = np.arange(side)
    waves_HWC = [128 + 90 * np.sin((places[:, None] * (c + 1) + places * 2) / (3 + side / 9)) for c in range(channels)]
    pixels_HWC = np.stack(waves_HWC, axis=2)
    pixels_HWC[side // 3 : side // 2, side // 4 : side // 2] = 240
    pixels_HWC[side // 2 :, : side // 5] = 8
    return np.clip(pixels_HWC + draw.integers(-12, 13, pixels_HWC.shape), 0, 255).astype(np.uint8)


def batch_of(count: int, side: int, channels: int = 3) -> Tensor:
    """Return uint8 images of shape (count, channels, side, side)."""
    return torch.from_numpy(np.stack([photograph(side, channels, n) for n in range(count)])).permute(0, 3, 1, 2)


def facts(name: str) -> dict[str, Any]:
    """Return what is declared about a data set."""
    info = datasets.info(name)
    counts = [info.classes, info.channels, info.size, info.train, info.test, info.crop_padding or -1, int(info.flips)]
    return {
        "counts": counts,
        "mean": list(info.mean),
        "std": list(info.std),
        "digests": [info.train_digest, info.digest],
        "classes": list(info.class_names),
    }


def declare(room: Room, name: str, **changed: Any) -> None:
    room.patch.setitem(datasets.DATASETS, name, replace(datasets.info(name), **changed))


def pixels_of(
    images: ImageSet, *, exact: bool = True, augmentation: augment.Augment = spec.NoAugment()
) -> dict[str, Any]:
    """Return the labels and pixels of all images, as a network gets them."""
    every = torch.arange(len(images))
    samples_B, x_BCHW, y_B = next(iter(batches(images, [every], augmentation, 1, 2, "cpu", workers=0)))
    pixels_BCHW = (x_BCHW * 255).round().byte()
    return {"samples": samples_B, "labels": y_B, "pixels": pixels_BCHW if exact else close(pixels_BCHW)}


# --- random numbers ---


@pin("randomness.generator")
def _generator(room: Room) -> dict[str, Any]:
    return {
        "bits": randomness.bits(3, "name", 7, SAMPLES_B, 5),
        "other": randomness.bits(4, "names", 8, SAMPLES_B, 1),
        "uniform": randomness.uniform(3, "name", 7, SAMPLES_B, 5),
        "single": randomness.uniform(3, "name", 7, SAMPLES_B, 5, torch.float32),
        "normal": randomness.normal(3, "name", 7, SAMPLES_B, 5, torch.float64),
        "permutation": randomness.permutation(3, "name", 7, 50),
    }


@pin("randomness.order", "training.length")
def _length(room: Room) -> dict[str, Any]:
    pinned: dict[str, Any] = {}
    for epochs, batch, images in ((2.5, 8, 60), (1, 64, 10), (0.01, 8, 60), (3, 7, 50)):
        run = spec.Run(
            data=spec.Data(name="digits"), network=spec.SmallCnn(), objective=spec.Xent(), optimiser=spec.Adam(),
            epochs=epochs, batch=batch, seed=5,
        )  # fmt: skip
        length = EpochSampler(run, images)
        orders = [torch.cat(length.remaining_batches(step)) for step in (0, length.steps // 2, length.steps - 1)]
        counts = [length.steps_per_epoch, length.steps, len(length.remaining_batches(0))]
        pinned[f"{epochs} {batch} {images}"] = {"counts": counts, "done": length.epochs_done(3), "orders": orders}
    return pinned


@pin("randomness.noise")
def _noise(room: Room) -> dict[str, Any]:
    pinned = {}
    for objective in (spec.Xent(), spec.Vib(rho=1.0), spec.Ceb(rho=1.0), spec.Cceb(rho=1.0)):
        run = spec.Run(
            data=spec.Data(name="digits"), network=spec.SmallCnn(z_dim=5), objective=objective, optimiser=spec.Adam(),
            epochs=1, batch=8, seed=2,
        )  # fmt: skip
        pinned[type(objective).__name__] = encoder_noise.draw(run, 3, torch.arange(4), "cpu")
    return pinned


# --- data sets ---


@pin("data.digits")
def _digits(room: Room) -> dict[str, Any]:
    data = spec.Data(name="digits")
    return facts("digits") | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


def _published(room: Room, name: str, content: Callable[[str, np.random.Generator], bytes], **changed: Any) -> None:
    """Write files in a published form, and declare them."""
    draw, files = np.random.default_rng(0), []
    for file in datasets.info(name).files:
        data, path = content(file.path, draw), room.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        files.append(replace(file, md5=hashlib.md5(data).hexdigest()))
    declare(room, name, files=tuple(files), **changed)


@pin("data.cifar10")
def _cifar10(room: Room) -> dict[str, Any]:
    def content(_: str, draw: np.random.Generator) -> bytes:
        pixels = draw.integers(256, size=(4, 3072), dtype=np.uint8)
        return pickle.dumps({b"data": pixels, b"labels": [3, 1, 4, 1]}, protocol=2)

    declared = facts("cifar10")
    _published(room, "cifar10", content, train=20, test=4)
    data = spec.Data(name="cifar10")
    return declared | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


@pin("data.fashion_mnist")
def _fashion_mnist(room: Room) -> dict[str, Any]:
    def content(path: str, draw: np.random.Generator) -> bytes:
        shape = (5,) if "labels" in path else (5, 28, 28)
        header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)
        return gzip.compress(header + draw.integers(10, size=shape, dtype=np.uint8).tobytes())

    declared = facts("fashion_mnist")
    _published(room, "fashion_mnist", content, train=5, test=5)
    data = spec.Data(name="fashion_mnist")
    return declared | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


@pin("data.cifar100")
def _cifar100(room: Room) -> dict[str, Any]:
    def content(_: str, draw: np.random.Generator) -> bytes:
        pixels = draw.integers(256, size=(4, 3072), dtype=np.uint8)
        labels = {b"fine_labels": [99, 1, 4, 1], b"coarse_labels": [19, 0, 1, 0]}
        return pickle.dumps({b"data": pixels, **labels}, protocol=2)

    declared = facts("cifar100")
    _published(room, "cifar100", content, train=4, test=4)
    data = spec.Data(name="cifar100")
    return declared | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


@pin("data.svhn")
def _svhn(room: Room) -> dict[str, Any]:
    def content(_: str, draw: np.random.Generator) -> bytes:
        written = io.BytesIO()
        pixels = draw.integers(256, size=(32, 32, 3, 5), dtype=np.uint8)
        savemat(written, {"X": pixels, "y": np.array([[10], [1], [9], [10], [3]], dtype=np.uint8)})
        return written.getvalue()

    declared = facts("svhn")
    _published(room, "svhn", content, train=5, test=5)
    data = spec.Data(name="svhn")
    return declared | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


@pin("data.stl10")
def _stl10(room: Room) -> dict[str, Any]:
    def content(path: str, draw: np.random.Generator) -> bytes:
        if "_y" in path:
            return bytes([10, 1, 7])
        return draw.integers(256, size=3 * 3 * 96 * 96, dtype=np.uint8).tobytes()

    declared = facts("stl10")
    _published(room, "stl10", content, train=3, test=3)
    data = spec.Data(name="stl10")
    return declared | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "test")}  # type: ignore[arg-type]


@pin("data.tiny_imagenet", tolerance=PIXELS)
def _tiny_imagenet(room: Room) -> dict[str, Any]:
    declared, folder = facts("tiny_imagenet"), room.folder / "tiny-imagenet-200"
    for number, name in enumerate(reversed(NAMES)):
        (folder / "train" / name / "images").mkdir(parents=True)
        for index in range(2):
            image = Image.fromarray(photograph(64, seed=10 * number + index))
            image.convert("L" if index else "RGB").save(folder / "train" / name / "images" / f"{index}.JPEG")
    (folder / "val" / "images").mkdir(parents=True)
    for index in (1, 0):
        Image.fromarray(photograph(64, seed=90 + index)).save(folder / "val" / "images" / f"val_{index}.JPEG")
    (folder / "val" / "val_annotations.txt").write_text(
        f"val_1.JPEG\t{NAMES[2]}\t0\t0\t9\t9\nval_0.JPEG\t{NAMES[1]}\t0\t0\t9\t9\n"
    )
    declare(room, "tiny_imagenet", classes=3, train=6, test=2)
    data = spec.Data(name="tiny_imagenet")
    made = {split: pixels_of(load(data, split, room.folder), exact=False) for split in ("train", "test")}  # type: ignore[arg-type]
    return declared | made


@pin("data.cifar10-jpeg", tolerance=PIXELS)
def _cifar10_jpeg(room: Room) -> dict[str, Any]:
    declared, info = facts("cifar10-jpeg"), datasets.info("cifar10-jpeg")
    listed = io.BytesIO()
    for number, name in enumerate(f"{name}/{n:04}.jpg" for name in info.class_names for n in range(2)):
        path = room.folder / info.folder / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(32, seed=number)).save(path)
        listed.write(name.encode() + b"\0" + str(path.stat().st_size).encode() + b"\0" + path.read_bytes())
    digest = "sha256:" + hashlib.sha256(listed.getvalue()).hexdigest()
    declare(room, "cifar10-jpeg", test=20, digest=digest)
    return declared | pixels_of(load(spec.Data(name="cifar10-jpeg"), "test", room.folder), exact=False)


def folders(root: Path, names: tuple[str, ...], count: int, side: int | None = None) -> None:
    """Write images as class folders: lossless ones under JPEG's name, as ImageNet has one, grey ones and others."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels_HWC = photograph(side or 40 + 9 * index + number, seed=10 * number + index)
            if side is None:
                pixels_HWC = pixels_HWC[: 36 + index, :]
            image = Image.fromarray(pixels_HWC)
            image.convert("L" if index == 1 else "RGB").save(root / name / f"{index}.JPEG", "PNG")


def imagenet(room: Room, split: str = "test", **data: Any) -> ImageSet:
    """Return a small ImageNet for a network that sees 32x32."""
    folders(room.folder / "imagenet" / {"test": "val"}.get(split, split), tuple(reversed(NAMES)), 4)
    declare(room, "imagenet", classes=3, train=12, test=12, size=32)
    return load(spec.Data(name="imagenet", **data), split, room.folder)  # type: ignore[arg-type]


@pin("data.imagenet", tolerance=PIXELS)
def _imagenet(room: Room) -> dict[str, Any]:
    declared = facts("imagenet")
    images = imagenet(room)
    assert isinstance(images, FolderImages)
    return declared | pixels_of(images, exact=False) | {"names": [name.decode() for name in images.names_N.tolist()]}


@pin("data.own", tolerance=PIXELS)
def _own(room: Room) -> dict[str, Any]:
    """Read one's own images, and what makes their pixels alone, at shapes and modes of all kinds."""
    room.patch.setenv("CEBCTL_DATA", str(room.folder))
    folders(room.folder / "mine", ("b", "a", "c"), 4)
    digests = {split: image_folder.SplitDigest() for split in ("train", "test")}
    for split, digest in digests.items():
        for name, _ in image_folder.list_images(room.folder / "mine", ("a", "b", "c"), split, 2):  # type: ignore[arg-type]
            digest.add(name, (room.folder / "mine" / name).read_bytes())
    described = own_dataset.Description(
        folder="mine", train_folder="", test_folder="", test_every=2, class_names=("a", "b", "c"), channels=3, size=24,
        train=6, test=6, mean=(0.5,) * 3, std=(0.2,) * 3, flips=True,
        train_digest=digests["train"].text, test_digest=digests["test"].text,
    )  # fmt: skip
    name = own_dataset.dataset_name("mine", described)
    own_dataset.write(name, described)
    pinned: dict[str, Any] = {
        split: pixels_of(load(spec.Data(name=name), split, room.folder), exact=False)  # type: ignore[arg-type]
        for split in ("train", "test")
    }
    info = datasets.info(name)
    pinned["declared"] = [info.crop_padding, int(info.flips), info.channels, info.size]
    for mode in ("RGB", "L", "P", "CMYK", "RGBA"):
        saved = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        kind = "TIFF" if mode == "CMYK" else "PNG"
        Image.fromarray(photograph(60)[:, :44]).convert(mode).save(saved, kind, exif=exif)
        for channels, size in ((1, 16), (3, 40)):
            decoded_HWC = image_folder.decode_image(saved.getvalue(), Path(mode), channels, size)
            pinned[f"{mode} {channels} {size}"] = close(decoded_HWC)
    return pinned


def _of_classes(name: str, room: Room) -> dict[str, Any]:
    """Read a published test set of ImageNet's classes, of three of them."""
    declared = OTHER_TEST_SETS[name]
    numbered = name.startswith("imagenet-v2")
    folders(room.folder / declared.folder, ("0", "1", "2") if numbered else NAMES, 2, side=40)
    small = replace(declared, images=6, classes=3, labels=())
    info = replace(datasets.info("imagenet"), classes=3, size=32)
    images = other_test_sets.imagenet(small, info, room.folder, list(NAMES))
    counts = [declared.images, declared.classes]
    of_classes = torch.tensor(declared.labels or [-1])
    return {"counts": counts, "of": of_classes, "folder": declared.folder, **pixels_of(images, exact=False)}


for _name in OTHER_TEST_SETS:
    if _name.startswith(("imagenet-a", "imagenet-r", "imagenet-sketch", "imagenet-v2")):
        pin(f"data.{_name}", tolerance=PIXELS)(partial(_of_classes, _name))


@pin("data.imagenet-sample", tolerance=PIXELS)
def _imagenet_sample(room: Room) -> dict[str, Any]:
    declared = OTHER_TEST_SETS["imagenet-sample"]
    folders(room.folder / declared.folder, NAMES, 2)
    room.patch.setitem(OTHER_TEST_SETS, declared.name, replace(declared, images=6, classes=3))
    images = other_test_sets.imagenet_sample(room.folder, 32, datasets.info("imagenet"))
    return {"counts": [declared.images, declared.classes], **pixels_of(images, exact=False)}


@pin("data.imagenet-c", tolerance=PIXELS)
def _imagenet_c(room: Room) -> dict[str, Any]:
    folders(room.folder / "imagenet-c" / "fog" / "3", NAMES, 2, side=32)
    room.patch.setattr(other_test_sets, "_IMAGENET_C", replace(OTHER_TEST_SETS["imagenet-c"], images=6, classes=3))
    info = replace(datasets.info("imagenet"), classes=3, size=32)
    images = other_test_sets.imagenet_c("fog", 3, info, room.folder, list(NAMES))
    return {"crop": bool(images.crop), "digest": images.digest, **pixels_of(images, exact=False)}


@pin("data.imagenet-3dcc", tolerance=PIXELS)
def _imagenet_3dcc(room: Room) -> dict[str, Any]:
    folders(room.folder / "ImageNet-3DCC" / "flash" / "3", NAMES, 2, side=32)
    declared = replace(OTHER_TEST_SETS["imagenet-3dcc"], images=6, classes=3)
    info = replace(datasets.info("imagenet"), classes=3, size=32)
    images = other_test_sets.imagenet_c("flash", 3, info, room.folder, list(NAMES), declared)
    return {"crop": bool(images.crop), "digest": images.digest, **pixels_of(images, exact=False)}


@pin("data.cifar10-c")
def _cifar10_c(room: Room) -> dict[str, Any]:
    folder = room.folder / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "fog.npy", np.stack([photograph(32, seed=n) for n in range(20)]))
    np.save(folder / "labels.npy", np.arange(20, dtype=np.uint8) % 10)
    room.patch.setattr(other_test_sets, "_CIFAR10_C", replace(OTHER_TEST_SETS["cifar10-c"], images=4))
    info = datasets.info("cifar10")
    return {
        str(severity): pixels_of(other_test_sets.cifar10_c("fog", severity, info, room.folder)) for severity in (1, 4)
    }


def _cifar10_1(version: str, room: Room) -> dict[str, Any]:
    declared = replace(OTHER_TEST_SETS[f"cifar10.1-{version}"], images=6)
    (room.folder / declared.folder).mkdir()
    files = {"data": np.stack([photograph(32, seed=n) for n in range(6)]), "labels": np.arange(6, dtype=np.int32)}
    for name, array in files.items():
        np.save(room.folder / declared.folder / f"cifar10.1_{version}_{name}.npy", array)
    return pixels_of(other_test_sets.cifar10_1(declared, datasets.info("cifar10"), room.folder))


for _version in ("v4", "v6"):
    pin(f"data.cifar10.1-{_version}")(partial(_cifar10_1, _version))


@pin("data.photographs", tolerance=PIXELS)
def _photographs(room: Room) -> dict[str, Any]:
    images = photographs()
    return {"windows": close(images.images_NCHW), "count": len(images)}


@pin("data.subset")
def _subset(room: Room) -> dict[str, Any]:
    labels_N = torch.tensor([2, 0, 1, 2, 2, 0, 1, 2, 0, 0])
    data = spec.Data(name="digits", train_subset=40, holdout=30)
    pinned = {str(count): balanced_indices(labels_N, count) for count in (1, 4, 7, 10)}
    return pinned | {split: pixels_of(load(data, split, room.folder)) for split in ("train", "holdout")}  # type: ignore[arg-type]


@pin("loader.dali", tolerance=PIXELS, needs="nvidia.dali")
def _dali(room: Room) -> dict[str, Any]:
    images = imagenet(room, loader="dali")
    return {
        type(augmentation).__name__: pixels_of(images, exact=False, augmentation=augmentation)["pixels"]
        for augmentation in (spec.NoAugment(), spec.CropFlip())
    }


# --- resizing and augmentation ---


def _image(height: int, width: int) -> Image.Image:
    return Image.fromarray(photograph(max(height, width))[:height, :width])


@pin("resize.central_crop", tolerance=PIXELS)
def _central_crop(room: Room) -> dict[str, Any]:
    sizes = ((50, 70), (90, 64), (32, 33), (257, 300))
    return {
        f"{height}x{width}": {
            "pixels": close(augment.central_crop(_image(height, width), 32)),
            "window": list(augment.crop_window(spec.NoAugment(), width, height)),
        }
        for height, width in sizes
    }


@pin("resize.fitted", tolerance=PIXELS)
def _fitted(room: Room) -> dict[str, Any]:
    given = {"colours": photograph(40), "grey": photograph(40, 1), "fits": photograph(16)}
    return {
        f"{name} {channels}": close(Resize(16, channels)(pixels_HWC, 0))
        for name, pixels_HWC in given.items()
        for channels in (1, 3)
    }


@pin("augment.crop_flip")
def _crop_flip(room: Room) -> dict[str, Any]:
    samples_B = torch.arange(20)
    return {
        name: augment.augment_small(
            batch_of(20, datasets.info(name).size, datasets.info(name).channels),
            spec.CropFlip(),
            datasets.info(name),
            3,
            2,
            samples_B,
        )
        for name in ("digits", "fashion_mnist", "cifar10")
    }


@pin("augment.random_resized_crop", tolerance=PIXELS)
def _random_resized_crop(room: Room) -> dict[str, Any]:
    seeds = augment.sample_seeds(3, 2, torch.arange(12))
    windows = []
    for sample_seed in seeds:
        with augment.seeded_generator(sample_seed):
            windows.append(torch.tensor(augment.crop_window(spec.CropFlip(), 70, 90)))
    images = imagenet(room, "train")
    pixels = pixels_of(images, exact=False, augmentation=spec.CropFlip())["pixels"]
    return {"seeds": torch.tensor(seeds), "windows": torch.stack(windows), "pixels": pixels}


BY_IMAGE: dict[str, list[augment.ByImage]] = {
    "randaugment": [spec.RandAugment(), spec.RandAugment(operations=1, magnitude=25)],
    "trivialaugment": [spec.TrivialAugment()],
    "augmix": [spec.AugMix(), spec.AugMix(severity=8, chains=2, chain_length=1, alpha=0.5)],
}


def _by_image(name: str, room: Room) -> dict[str, Any]:
    pinned = {}
    for number, augmentation in enumerate(BY_IMAGE[name]):
        for data, images in (("cifar10", 40), ("fashion_mnist", 10)):
            info = datasets.info(data)
            images_BCHW = batch_of(images, info.size, info.channels)
            made_BCHW = augment.augment_small(images_BCHW, augmentation, info, 3, 2, torch.arange(images))
            pinned[f"{number} {data}"] = close(made_BCHW)
    pixels = pixels_of(imagenet(room, "train"), exact=False, augmentation=BY_IMAGE[name][0])["pixels"]
    return pinned | {"imagenet": pixels}


for _name in BY_IMAGE:
    pin(f"augment.{_name}", tolerance=PIXELS)(partial(_by_image, _name))


@pin("augment.erasing")
def _erasing(room: Room) -> dict[str, Any]:
    info, samples_B = datasets.info("cifar10"), torch.arange(40)
    x_BCHW = batch_of(40, info.size, 3).float() / 255
    return {
        "rectangles": erasing.rectangles(32, 3, 2, samples_B),
        "small": erasing.rectangles(5, 3, 2, samples_B),
        "erased": erasing.erase(x_BCHW, 0.6, info.mean, 3, 2, samples_B).double(),
    }


@pin("augment.autoaugment_torchvision", tolerance=PIXELS)
def _autoaugment_torchvision(room: Room) -> dict[str, Any]:
    """Augment so many images that each operation is drawn, and look at each sub-policy by itself."""
    samples_B = torch.arange(240)
    pinned: dict[str, Any] = {"draws": list(autoaugment.draw(25, 3, 2, samples_B))}
    for policy in ("cifar10", "imagenet"):
        images_BCHW = batch_of(24, 16).repeat(10, 1, 1, 1)
        made_BCHW = autoaugment.autoaugment(images_BCHW, policy, 3, 2, samples_B)  # type: ignore[arg-type]
        chosen_B = pinned["draws"][0]
        by_pair = torch.stack([made_BCHW[chosen_B == pair].double().mean() for pair in range(25)])
        pinned[policy] = {"pairs": by_pair, "all": close(made_BCHW)}
    pinned["equalized"] = autoaugment.equalize(batch_of(6, 40))
    grey_BCHW = autoaugment.autoaugment(batch_of(24, 16, 1), "cifar10", 3, 2, torch.arange(24))
    augmentation = spec.AutoAugment(policy="imagenet")
    files = pixels_of(imagenet(room, "train"), exact=False, augmentation=augmentation)["pixels"]
    return pinned | {"grey": close(grey_BCHW), "files": files}


@pin("augment.autoaugment_v0", tolerance=PIXELS, needs="nvidia.dali")
def _autoaugment_v0(room: Room) -> dict[str, Any]:
    augmentation = spec.AutoAugment(policy="imagenet", family="v0")
    images = imagenet(room, "train", loader="dali", augment=augmentation)
    pixels = pixels_of(images, exact=False, augmentation=augmentation)["pixels"]
    return {"choices": dali.choices(3, 2, torch.arange(200)), "pixels": pixels}


def _authors(code: str, names: tuple[str, ...], sub_policies: tuple[SubPolicy, ...]) -> dict[str, Any]:
    """Augment by the code's policy, and by each operation at each level alone, with alpha and without."""
    pinned: dict[str, Any] = {"centres": autoaugment.draw_centres(3, 2, SAMPLES_B, 32)}
    singly = tuple(((name, 1.0, level), ("Invert", 0.0, 0)) for name in names for level in range(11))
    samples_B, images_BCHW = torch.arange(1200), batch_of(24, 24).repeat(50, 1, 1, 1)
    for alpha in (False, True):
        given_BCHW = torch.cat([images_BCHW, torch.full_like(images_BCHW[:, :1], 255)], dim=1) if alpha else images_BCHW
        for kind, pairs in (("policy", sub_policies), ("singly", singly)):
            statement = autoaugment.authors(code, pairs)  # type: ignore[arg-type]
            pinned[f"{kind} {alpha}"] = autoaugment.transform(given_BCHW, statement, 3, 2, samples_B, alpha=alpha)
    return pinned


OPERATIONS = (
    "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "Color", "Contrast", "Brightness",
    "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY",
)  # fmt: skip


@pin("augment.autoaugment_cifar10_authors", tolerance=EXACT)
def _autoaugment_cifar10_authors(room: Room) -> dict[str, Any]:
    return _authors("cifar10_authors", (*OPERATIONS, "Cutout"), CIFAR10_AUTHORS)


@pin("augment.autoaugment_imagenet_authors", tolerance=EXACT)
def _autoaugment_imagenet_authors(room: Room) -> dict[str, Any]:
    augmentation = spec.AutoAugment(policy="imagenet", family="imagenet_authors")
    files = pixels_of(imagenet(room, "train"), exact=False, augmentation=augmentation)["pixels"]
    return _authors("imagenet_authors", (*OPERATIONS, "SolarizeAdd"), IMAGENET_AUTHORS) | {"files": files}


def _field(fields: dict[str, Any], room: Room) -> dict[str, Any]:
    """Augment images in memory with this field of AutoAugment set, behind another policy and behind the authors'."""
    info, samples_B, images_BCHW = datasets.info("cifar10"), torch.arange(48), batch_of(24, 32).repeat(2, 1, 1, 1)
    augmentations = [
        spec.AutoAugment(policy="imagenet", family="imagenet_authors", **fields),
        spec.AutoAugment(policy="cifar10", family="cifar10_authors", **fields),
        spec.AutoAugment(policy="cifar10", family="cifar10_authors", **{"order": "policy_first"} | fields),
    ]
    return {
        f"{number}": augment.augment_small(images_BCHW, augmentation, info, 3, 2, samples_B)
        for number, augmentation in enumerate(augmentations)
    }


for _fields in ({"order": "policy_first"}, {"crop_offsets": 8}, {"cutout": 16}, {"fill": "mean"}):
    pin(f"augment.{next(iter(_fields))}")(partial(_field, _fields))


# --- corruptions ---


def _corruption(name: str, room: Room) -> dict[str, Any]:
    """Corrupt at every severity: colours at the published sizes, colours and grey at others."""
    return {
        f"{side} {channels}": close(
            np.stack([Corruption(name, s)(photograph(side, channels), 7 * s + channels) for s in SEVERITIES])
        )
        for side, channels in ((32, 3), (64, 3), (224, 3), (28, 1), (48, 3))
    }


for _name in (*corrupted.CORRUPTIONS, *corrupted.EXTRA_CORRUPTIONS):
    pin(f"corruption.{_name}", tolerance=PIXELS)(partial(_corruption, _name))


def _pipeline(pipeline: str, room: Room) -> dict[str, Any]:
    """Take fog at two severities by a pipeline, of images that lie in folders."""
    for severity in SEVERITIES:
        folders(room.folder / "imagenet-c" / "fog" / str(severity), NAMES, 4, side=32)
    room.patch.setattr(other_test_sets, "_IMAGENET_C", replace(OTHER_TEST_SETS["imagenet-c"], images=12, classes=3))
    declare(room, "imagenet", size=32)
    context = EvaluationContext(imagenet(room), "cpu", 5, root=room.folder)
    images_of = corrupted._pipeline(corrupted.CommonCorruptions(pipeline=pipeline), context, ["fog"])  # type: ignore[arg-type]
    pinned: dict[str, Any] = {"seed": SEED}
    for severity in (1, 4):
        images = images_of("fog", severity)
        pinned[str(severity)] = pixels_of(images, exact=False) | {"digest": images.digest}
    return pinned


for _name in ("official", "official-recrop", "regenerated", "in-memory", "ours"):
    pin(f"pipeline.{_name}", tolerance=PIXELS)(partial(_pipeline, _name))
