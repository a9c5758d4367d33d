"""DALI against torchvision and Pillow: the same crops but for roundings, AutoAugment of the v0 family, one contract."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode, functional

from experiments import datasets
from experiments.errors import InputError
from experiments.spec import AutoAugment, Ceb, CropFlip, Data, NoAugment, Run, Sgd, SmallCnn
from jobs.engine import checkpoint_format
from jobs.engine.data import FolderImages, batches, load
from jobs.engine.data.augmentation import augment, autoaugment
from jobs.engine.data.datasets import other_test_sets
from jobs.engine.training.loop import train
from jobs.errors import Stopped
from jobs.paths import RunPaths

pytest.importorskip("nvidia.dali", reason="no DALI: pip install 'cebctl[dali]'")

V0 = AutoAugment(policy="imagenet", family="v0")
AUGMENTS = [NoAugment(), CropFlip(), V0]


def by_sample(
    images: FolderImages,
    split: Sequence[Tensor],
    augmentation: augment.Augment,
    seed: int = 0,
    epoch: int = 0,
    **kw: int,
) -> dict[int, Tensor]:
    """x_CHW of each sample, in grey values."""
    found: dict[int, Tensor] = {}
    for samples_B, x_BCHW, y_B in batches(images, split, augmentation, seed, epoch, "cpu", **kw):
        assert x_BCHW.dtype == torch.float32
        assert torch.equal(y_B, images.labels_N[samples_B])
        found |= dict(zip(samples_B.tolist(), 255 * x_BCHW, strict=True))
    return found


@pytest.fixture
def images(small_imagenet: Path) -> FolderImages:
    images = load(Data(name="imagenet", loader="dali"), "train", small_imagenet)
    assert isinstance(images, FolderImages) and images.loader == "dali"
    return images


@pytest.mark.data
class TestRealImages:
    """Pillow rounds to whole grey values, and clips, between the two passes of a resize, DALI behind both. So every
    sixth value or so differs by one, and a few, where Pillow clipped, by more (measured on all 1,000: 0.18 in the mean,
    0.30 in the worst image, 0.07% of the values by more than 2)."""

    @pytest.fixture
    def sample(self, real_imagenet_sample: Path) -> FolderImages:
        return other_test_sets.imagenet_sample(real_imagenet_sample, 224, datasets.info("imagenet"))

    @pytest.mark.parametrize("augmentation", AUGMENTS[:2], ids=repr)
    def test_crops_are_torchvision_s(self, augmentation: augment.Augment, sample: FolderImages) -> None:
        split = torch.arange(0, 1000, 10).split(40)
        theirs = by_sample(sample, split, augmentation, seed=1, epoch=2)
        ours = by_sample(replace(sample, loader="dali"), split, augmentation, seed=1, epoch=2)
        assert ours.keys() == theirs.keys() and len(ours) == 100
        apart = torch.stack([(ours[index] - theirs[index]).abs() for index in ours])
        assert apart.mean(dim=(1, 2, 3)).max() < 0.4
        assert (apart > 2.5).float().mean() < 0.002

    def test_evaluation_crops_are_those_computed_without_rounding(self, sample: FolderImages) -> None:
        for index, x_CHW in by_sample(replace(sample, loader="dali"), [torch.arange(0, 1000, 50)], NoAugment()).items():
            with Image.open(sample.path(index)) as image:
                pixels_CHW = functional.pil_to_tensor(image.convert("RGB")).float()
            top, left, height, width, _ = augment.crop_window(NoAugment(), pixels_CHW.shape[2], pixels_CHW.shape[1])
            exact_CHW = functional.resized_crop(
                pixels_CHW, top, left, height, width, [224, 224], InterpolationMode.BICUBIC, antialias=True
            )
            assert (x_CHW - exact_CHW.round().clamp(0, 255)).abs().mean() < 0.05  # Pillow's: 0.17

    def test_a_truncated_jpeg_is_named(self, sample: FolderImages, tmp_path: Path) -> None:
        (tmp_path / "cut.JPEG").write_bytes(sample.path(3).read_bytes()[:-40])
        cut = replace(sample, loader="dali", folder=tmp_path, names_N=np.array([b"cut.JPEG"]), labels_N=torch.zeros(1))
        with pytest.raises(
            InputError,
            match=rf"{tmp_path}/cut.JPEG: no image that can be read: image file is truncated .* corrupt image 1",
        ):
            by_sample(cut, [torch.tensor([0])], CropFlip())


@pytest.mark.parametrize("augmentation", AUGMENTS, ids=repr)
def test_order_batch_size_workers_and_threads_change_nothing(
    augmentation: augment.Augment, images: FolderImages
) -> None:
    whole = by_sample(images, [torch.arange(48)], augmentation, seed=5, epoch=1, workers=0)
    mixed = torch.randperm(48, generator=torch.Generator().manual_seed(1)).split(10)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = by_sample(images, mixed, augmentation, seed=5, epoch=1, workers=2)
    finally:
        torch.set_num_threads(threads)
    rest = by_sample(images, mixed[3:], augmentation, seed=5, epoch=1)  # resumed
    assert again.keys() == whole.keys() and len(rest) == 18
    assert all(torch.equal(x_CHW, whole[index]) for found in (again, rest) for index, x_CHW in found.items())


@pytest.mark.parametrize("augmentation", AUGMENTS[1:], ids=repr)
def test_seed_and_epoch_change_the_draw(augmentation: augment.Augment, images: FolderImages) -> None:
    before = torch.get_rng_state()
    first = by_sample(images, [torch.arange(48)], augmentation)
    for seed, epoch in ((0, 1), (1, 0)):
        other = by_sample(images, [torch.arange(48)], augmentation, seed, epoch)
        assert sum(torch.equal(first[index], other[index]) for index in first) < 6
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_is_resumed_bit_for_bit(small_imagenet: Path, tmp_path: Path) -> None:
    data = Data(name="imagenet", loader="dali", augment=V0)
    run = Run(
        data=data, network=SmallCnn(width=2, z_dim=4), objective=Ceb(rho=1), optimiser=Sgd(lr=0.1), epochs=2, batch=16
    )

    def attempt(name: str, stop: Callable[[], bool]) -> Any:
        paths = RunPaths(tmp_path / name)
        train(run, paths, None, small_imagenet, "cpu", stop)
        loaded = checkpoint_format.load_newest(run, paths.checkpoints)
        assert loaded is not None and loaded.step == 6
        return loaded.state["model"]

    whole = attempt("whole", lambda: False)
    asked = iter([False, True])
    with pytest.raises(Stopped):
        attempt("stopped", lambda: next(asked))
    resumed = attempt("stopped", lambda: False)
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


# The policy and the operations as the public TPU code states them (tensorflow/tpu, models/official/efficientnet/
# autoaugment.py, policy_v0), without those of probability 0.
PAIRS = """
Equalize 0.8 1, ShearY 0.8 4; Color 0.4 9, Equalize 0.6 3; Color 0.4 1, Rotate 0.6 8; Solarize 0.8 3, Equalize 0.4 7;
Solarize 0.4 2, Solarize 0.6 2; Color 0.2 0, Equalize 0.8 8; Equalize 0.4 8, SolarizeAdd 0.8 3;
ShearX 0.2 9, Rotate 0.6 8; Color 0.6 1, Equalize 1.0 2; Invert 0.4 9, Rotate 0.6 0; Equalize 1.0 9, ShearY 0.6 3;
Color 0.4 7, Equalize 0.6 0; Posterize 0.4 6, AutoContrast 0.4 7; Solarize 0.6 8, Color 0.6 9;
Solarize 0.2 4, Rotate 0.8 9; Rotate 1.0 7, TranslateY 0.8 9; Solarize 0.8 4; ShearY 0.8 0, Color 0.6 4;
Color 1.0 0, Rotate 0.6 2; Equalize 0.8 4; Equalize 1.0 4, AutoContrast 0.6 2; ShearY 0.4 7, SolarizeAdd 0.6 7;
Posterize 0.8 2, Solarize 0.6 10; Solarize 0.6 8, Equalize 0.6 1; Color 0.8 6, Rotate 0.4 5
"""


def operated(pixels: NDArray[np.uint8], name: str, level: int, sign: int) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)

    def moved(a: float, b: float, d: float, e: float, f: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, (a, b, 0, d, e, f), fillcolor=(128,) * 3)

    match name:
        case "Equalize":
            return np.stack([cv2.equalizeHist(channel) for channel in np.moveaxis(pixels, 2, 0)], axis=2)
        case "Solarize":
            return np.where(pixels < int(25.6 * level), pixels, 255 - pixels)
        case "SolarizeAdd":
            return np.where(pixels < 128, pixels + int(11 * level), pixels).astype(np.uint8)
        case "Posterize":
            image = ImageOps.posterize(image, max(1, round(0.4 * level)))
        case "Color":
            image = ImageEnhance.Color(image).enhance(0.1 + 0.18 * level)
        case "AutoContrast":
            image = ImageOps.autocontrast(image)
        case "Invert":
            image = ImageOps.invert(image)
        case "ShearX":
            image = moved(1, -sign * 0.03 * level, 0, 1, 0)
        case "ShearY":
            image = moved(1, 0, -sign * 0.03 * level, 1, 0)
        case "TranslateY":
            image = moved(1, 0, 0, 1, -sign * 25 * level)
        case "Rotate":
            image = image.rotate(sign * 3 * level, fillcolor=(128,) * 3)
    return np.asarray(image)


def test_autoaugment_is_policy_v0(images: FolderImages) -> None:
    """Each image is what Pillow makes of its crop under the same draw, up to roundings: of a grey value, and where an
    image is moved, of which pixel is the nearest."""
    pairs = [[step.split() for step in pair.split(",")] for pair in PAIRS.split(";")]
    samples_B = torch.arange(48)
    draw = np.random.default_rng(0)
    for index in range(48):  # rough, so that a neighbour is no substitute
        Image.fromarray(draw.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(images.path(index), quality=95)
    met: set[str] = set()
    for epoch in range(5):
        cropped = by_sample(images, [samples_B], CropFlip(), seed=2, epoch=epoch)
        made = by_sample(images, [samples_B], V0, seed=2, epoch=epoch)
        chosen_B, chances_B2, signs_B2 = autoaugment.draw(25, 2, epoch, samples_B)
        for index in samples_B.tolist():
            expected, applied = cropped[index].permute(1, 2, 0).numpy().round().astype(np.uint8), []
            for stage, (name, probability, level) in enumerate(pairs[chosen_B[index]]):
                if chances_B2[index, stage] < float(probability):
                    sign = 1 if signs_B2[index, stage] else -1
                    expected, applied = operated(expected, name, int(level), sign), [*applied, name]
            met |= set(applied)
            apart = np.abs(made[index].permute(1, 2, 0).numpy() - expected)
            assert np.median(apart) <= 2 and (apart > 12).mean() < 0.15, (index, applied)
    assert met == {step[0] for pair in pairs for step in pair}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_left_out_and_named(
    workers: int, images: FolderImages, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.1)
    images.path(5).write_bytes(images.path(5).read_bytes()[:-40])
    images.path(20).write_bytes(b"not an image")
    images.path(40).write_bytes(b"")
    images.path(41).unlink()
    with caplog.at_level(logging.WARNING):
        found = by_sample(images, torch.arange(48).split(12), V0, workers=workers)
    assert found.keys() == set(range(48)) - {5, 20, 40, 41} and images.corrupt.keys() == {5, 20, 40, 41}
    assert all(str(images.path(index)) in caplog.text for index in images.corrupt)


def test_what_dali_alone_can_not_decode_is_left_out_too(
    images: FolderImages, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is that of a JPEG, its tables are not; such an image breaks a pipeline that is batches ahead."""
    monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.1)
    split = torch.randperm(48, generator=torch.Generator().manual_seed(1)).split(6)
    whole = by_sample(images, split, V0, workers=0)
    for index in (17, 30):
        content = images.path(index).read_bytes()
        table = content.index(b"\xff\xc4")  # of Huffman's codes
        images.path(index).write_bytes(content[: table + 5] + b"\xff" * 16 + content[table + 21 :])
    found = by_sample(images, split, V0, workers=0)
    assert found.keys() == whole.keys() - {17, 30} and images.corrupt == dict.fromkeys((17, 30), "DALI can't decode it")
    assert all(torch.equal(x_CHW, whole[index]) for index, x_CHW in found.items())
    assert all(str(images.path(index)) in caplog.text for index in (17, 30))
    with pytest.raises(InputError, match="DALI can't decode it; nothing else is in this batch"):
        by_sample(images, [torch.tensor([17])], NoAugment(), workers=0)


def test_nothing_left_of_a_batch(images: FolderImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.1)
    images.path(7).write_bytes(b"")
    with pytest.raises(InputError, match="nothing else is in this batch"):
        by_sample(images, [torch.tensor([6]), torch.tensor([7])], NoAugment())


def test_cmyk_grey_and_png_are_what_pillow_sees(images: FolderImages) -> None:
    """ImageNet holds all three under the name of a JPEG; some cameras add zeros, or which side is up."""
    with Image.open(images.path(0)) as image:
        image.load()
    sideways = Image.Exif()
    sideways[0x0112] = 6
    for index, (mode, form) in enumerate((("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"))):
        image.convert(mode).save(images.path(index), format=form, exif=sideways)
    images.path(4).write_bytes(images.path(5).read_bytes() + bytes(9))
    ours, theirs = (
        by_sample(replace(images, loader=who), [torch.arange(5)], NoAugment()) for who in ("dali", "torchvision")
    )
    assert all((ours[index] - theirs[index]).abs().mean() < 0.3 for index in range(5)) and not images.corrupt


def test_what_is_done_behind_a_crop_is_done_to_pillow_s(images: FolderImages) -> None:
    """Corruptions that are made on the way: every run sees the same images, whoever loads its own."""
    turned = {"transform": lambda pixels_HWC, index: pixels_HWC[::-1].copy()}
    ours, theirs = (replace(images, loader=who, **turned) for who in ("dali", "torchvision"))
    found, expected = (by_sample(one, [torch.arange(3)], NoAugment(), workers=0) for one in (ours, theirs))
    assert all(torch.equal(found[index], expected[index]) for index in range(3))


def test_another_family_is_refused_by_the_job_too(small_imagenet: Path) -> None:
    with pytest.raises(
        InputError, match=r"data: augment: the loader dali has no .*; allowed: {policy: imagenet, family: v0}"
    ):
        load(Data(name="imagenet", loader="dali", augment=AutoAugment(policy="imagenet")), "train", small_imagenet)


def test_without_the_package_it_says_how_to_get_it(small_imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("nvidia"):
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'cebctl\[dali\]'"):
        load(Data(name="imagenet", loader="dali"), "train", small_imagenet)
    dali_free = load(Data(name="imagenet"), "train", small_imagenet)
    assert len(by_sample(dali_free, [torch.arange(4)], CropFlip(), workers=0)) == 4  # type: ignore[arg-type]
