"""Batches: what is drawn for an image depends on (seed, epoch, sample) and on nothing else."""

from __future__ import annotations

import logging
import multiprocessing
import subprocess
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from experiments import datasets
from experiments.errors import InputError
from experiments.spec import AutoAugment, CropFlip, Data, NoAugment
from jobs.engine.data import FolderImages, ImageSet, MemoryImages, batches, load
from jobs.engine.data.augmentation import augment

AUGMENTS = [NoAugment(), CropFlip(), AutoAugment(policy="cifar10"), AutoAugment(policy="imagenet")]


def memory_set(name: str, count: int = 24) -> MemoryImages:
    info = datasets.info(name)
    shape = (count, info.channels, info.size, info.size)
    pixels = torch.randint(1, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return MemoryImages(info, "train", info.train_digest, torch.arange(count) % 10, pixels)


def by_sample(
    images: ImageSet, split: Sequence[Tensor], augmentation: augment.Augment, seed: int = 0, epoch: int = 0, **kw: int
) -> dict[int, Tensor]:
    """x_CHW of each sample."""
    found: dict[int, Tensor] = {}
    for samples_B, x_BCHW, y_B in batches(images, split, augmentation, seed, epoch, "cpu", **kw):
        assert x_BCHW.dtype == torch.float32 and x_BCHW.min() >= 0 and x_BCHW.max() <= 1
        assert torch.equal(y_B, images.labels_N[samples_B])
        found |= dict(zip(samples_B.tolist(), x_BCHW, strict=True))
    return found


def same(one: dict[int, Tensor], other: dict[int, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["digits", "cifar10", "fashion_mnist"])
@pytest.mark.parametrize("augmentation", AUGMENTS, ids=repr)
def test_order_batch_size_and_workers_change_nothing(name: str, augmentation: augment.Augment) -> None:
    images = memory_set(name)
    whole = by_sample(images, [torch.arange(24)], augmentation, seed=5, epoch=3)
    mixed = torch.randperm(24, generator=torch.Generator().manual_seed(1)).split(7)
    assert same(whole, by_sample(images, mixed, augmentation, seed=5, epoch=3))
    assert same(whole, by_sample(images, mixed, augmentation, seed=5, epoch=3, workers=2))
    rest = by_sample(images, mixed[2:], augmentation, seed=5, epoch=3)
    assert all(torch.equal(x_CHW, whole[sample]) for sample, x_CHW in rest.items())


@pytest.mark.parametrize("augmentation", AUGMENTS[1:], ids=repr)
def test_seed_and_epoch_change_the_draw(augmentation: augment.Augment) -> None:
    images = memory_set("cifar10")
    first = by_sample(images, [torch.arange(24)], augmentation, seed=0, epoch=0)
    for seed, epoch in ((0, 1), (1, 0)):
        other = by_sample(images, [torch.arange(24)], augmentation, seed=seed, epoch=epoch)
        assert sum(torch.equal(first[sample], other[sample]) for sample in first) < 6


@pytest.mark.parametrize("augmentation", AUGMENTS, ids=repr)
def test_the_global_generator_is_left_as_it_was(augmentation: augment.Augment, small_imagenet: Path) -> None:
    folder = load(Data(name="imagenet"), "train", small_imagenet)
    for images in (memory_set("cifar10"), folder):
        before = torch.get_rng_state()
        by_sample(images, [torch.arange(8)], augmentation)
        assert torch.equal(torch.get_rng_state(), before)


def test_no_augmentation_is_the_pixels_over_255() -> None:
    images = memory_set("cifar10")
    found = by_sample(images, [torch.tensor([7, 3])], NoAugment())
    assert torch.equal(found[3], images.images_NCHW[3].float() / 255)


def test_images_in_memory_stay_on_the_device_as_they_are_and_need_no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    images, device = memory_set("cifar10"), torch.device("meta")
    assert images.on(device)[0] is images.on(device)[0]
    assert images.on(device)[0].dtype == torch.uint8
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # by which images in folders get readers
    next(batches(images, torch.arange(24).split(4), CropFlip(), 0, 0, "cpu"))
    assert not multiprocessing.active_children()


def test_of_images_in_memory_a_few_are_augmented_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(images_BCHW: Tensor, *others: Any) -> Tensor:
        asked.append(len(images_BCHW))
        return augment.augment_small(images_BCHW, *others)

    monkeypatch.setattr(import_module("jobs.engine.data.batches"), "augment_small", noted)
    list(batches(memory_set("cifar10", 400), torch.arange(400).split(50), CropFlip(), 0, 0, "cpu"))
    assert asked == [150, 150, 100]


class TestCropFlip:
    @pytest.mark.parametrize(
        ("name", "padding", "flips"), [("cifar10", 4, True), ("fashion_mnist", 4, True), ("digits", 1, False)]
    )
    def test_every_image_is_one_of_the_crops_and_every_crop_occurs(self, name: str, padding: int, flips: bool) -> None:
        """Against all shifts of one image, written out one by one."""
        images = memory_set(name, 1)
        size = images.info.size
        padded_CHW = pad(images.images_NCHW[0], [padding] * 4)
        possible = {}
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop_CHW = padded_CHW[:, top : top + size, left : left + size]
                possible[crop_CHW.numpy().tobytes()] = (top, left, False)
                if flips:
                    possible[crop_CHW.flip(2).contiguous().numpy().tobytes()] = (top, left, True)
        drawn_BCHW = augment.crop_flip(
            images.images_NCHW.expand(3000, -1, -1, -1), images.info, 0, 0, torch.arange(3000)
        )
        counts = dict.fromkeys(possible.values(), 0)
        for image_CHW in drawn_BCHW:
            counts[possible[image_CHW.numpy().tobytes()]] += 1
        expected = 3000 / len(counts)
        chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi_squared < len(counts) + 4 * (2 * len(counts)) ** 0.5

    def test_digits_are_never_mirrored(self) -> None:
        assert not datasets.info("digits").flips and datasets.info("digits").crop_padding == 1


class TestFolder:
    @pytest.fixture
    def images(self, small_imagenet: Path) -> FolderImages:
        images = load(Data(name="imagenet"), "train", small_imagenet)
        assert isinstance(images, FolderImages)
        return images

    @pytest.mark.parametrize("augmentation", AUGMENTS, ids=repr)
    def test_order_batch_size_and_workers_change_nothing(
        self, augmentation: augment.Augment, images: FolderImages
    ) -> None:
        whole = by_sample(images, [torch.arange(48)], augmentation, epoch=1)
        mixed = torch.randperm(48, generator=torch.Generator().manual_seed(1)).split(10)
        assert same(whole, by_sample(images, mixed, augmentation, epoch=1, workers=2))
        assert all(x_CHW.shape == (3, 32, 32) for x_CHW in whole.values())

    @pytest.mark.parametrize(("height", "top"), [(256, 16), (257, 17)])
    def test_the_evaluation_crop(self, height: int, top: int) -> None:
        """A picture whose central square of 224/256 of the short side is white, and all around is black; of a margin
        that is odd, the larger part is above."""
        pixels = np.zeros((height, 512, 3), dtype=np.uint8)
        pixels[top : top + 224, 144:368] = 255
        white = np.asarray(augment.central_crop(Image.fromarray(pixels), 224))
        assert white.shape == (224, 224, 3) and white.min() == 255
        pixels[top + 1, 144:368] = 0
        assert np.asarray(augment.central_crop(Image.fromarray(pixels), 224)).min() == 0
        assert augment.central_crop(Image.fromarray(pixels).rotate(90, expand=True), 32).size == (32, 32)

    def test_the_training_crop_covers_what_it_is_said_to(self, images: FolderImages) -> None:
        """Columns and rows as colours: the corners of the crop are read off its corners."""
        rows, columns = np.mgrid[0:1:200j, 0:1:200j]
        plane = Image.fromarray(np.stack([255 * rows, 255 * columns, 0 * rows], axis=2).astype(np.uint8))
        transform = augment.folder_transform(CropFlip(), images.info)
        areas, mirrored = [], 0
        for seed in range(300):
            with augment.seeded_generator(seed):
                crop = np.asarray(transform(plane)).astype(float) / 255
            height, width = crop[-1, 0, 0] - crop[0, 0, 0], crop[0, -1, 1] - crop[0, 0, 1]
            mirrored += width < 0
            areas.append(height * abs(width))
            assert 0.6 < height / abs(width) < 1.6
        assert 0.04 < min(areas) < 0.12 and 0.85 < max(areas) <= 1
        assert 110 < mirrored < 190

    def test_readers_outlive_the_signals_of_a_scheduler(self, images: FolderImages) -> None:
        found = batches(images, torch.arange(48).split(4), CropFlip(), 0, 0, "cpu", workers=2)
        sizes = [len(next(found)[0]) for _ in range(2)]  # one by each reader, which by then heeds no signal
        readers = [str(reader.pid) for reader in multiprocessing.active_children()]
        for name in ("TERM", "USR2"):
            subprocess.run(["kill", f"-{name}", *readers], check=True)
        assert len(readers) == 2 and sizes + [len(samples_B) for samples_B, _, _ in found] == [4] * 12

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_corrupt_image_is_left_out_and_named(
        self, workers: int, images: FolderImages, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.1)
        images.path(5).write_bytes(images.path(5).read_bytes()[:-40])
        images.path(20).write_bytes(b"not an image")
        images.path(40).write_bytes(b"")
        images.path(41).unlink()
        split = torch.arange(48).split(12)
        with caplog.at_level(logging.WARNING):
            found = by_sample(images, split, CropFlip(), workers=workers)
        assert found.keys() == set(range(48)) - {5, 20, 40, 41} and images.corrupt.keys() == {5, 20, 40, 41}
        assert all(str(images.path(index)) in caplog.text for index in images.corrupt)
        caplog.clear()
        by_sample(images, split, CropFlip(), workers=workers)  # the next epoch names nothing again
        assert not caplog.text and len(images.corrupt) == 4

    def test_too_many_corrupt_images_end_the_run(self, images: FolderImages) -> None:
        images.path(7).write_bytes(b"")
        with pytest.raises(InputError, match=r"n01000000_\d+\.JPEG: .* corrupt image 1 of 48; up to 0.1% of a set"):
            by_sample(images, torch.arange(48).split(12), NoAugment())

    def test_nothing_left_of_a_batch(self, images: FolderImages, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobs.engine.data.images.MAX_CORRUPT_SHARE", 0.1)
        images.path(7).write_bytes(b"")
        with pytest.raises(InputError, match="nothing else is in this batch"):
            by_sample(images, [torch.tensor([7])], NoAugment())

    def test_cmyk_grey_and_png_are_images_too(self, images: FolderImages) -> None:
        """ImageNet holds all three under the name of a JPEG."""
        for index, (mode, form) in enumerate((("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"))):
            Image.new(mode, (70, 50), 128 if mode == "L" else (10, 20, 30, 40)).save(images.path(index), format=form)
        found = by_sample(images, [torch.arange(3)], NoAugment())
        assert len(found) == 3 and not images.corrupt

    @pytest.mark.data
    def test_the_real_images(self, real_imagenet_sample: Path, tmp_path: Path, declare: Callable[..., object]) -> None:
        (tmp_path / "imagenet").symlink_to(real_imagenet_sample / "imagenet-sample")
        declare("imagenet", test=1000)
        images = load(Data(name="imagenet"), "test", tmp_path)
        for augmentation in (NoAugment(), AutoAugment(policy="imagenet")):
            found = by_sample(images, [torch.arange(0, 1000, 100)], augmentation)
            assert all(x_CHW.shape == (3, 224, 224) and x_CHW.std() > 0.01 for x_CHW in found.values())
