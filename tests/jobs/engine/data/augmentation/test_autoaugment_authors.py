"""The authors' families of AutoAugment against Pillow, image by image, under the same draws."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from msgspec import UNSET
from PIL import Image
from torch import Tensor

from experiments import datasets
from experiments.spec import AutoAugment, CropFlip, Data
from jobs.engine import randomness
from jobs.engine.data import ImageSet, MemoryImages, batches, load
from jobs.engine.data.augmentation import augment, autoaugment
from jobs.engine.data.augmentation.autoaugment_policies import CIFAR10_AUTHORS, IMAGENET_AUTHORS, SubPolicy
from tests.jobs.engine.data.augmentation import authors_oracle as oracle

INFO = datasets.info("cifar10")
SEED, EPOCH, COUNT = 3, 5, 3000
AUTHORS = AutoAugment(
    policy="cifar10", family="cifar10_authors", order="policy_first", crop_offsets=8, cutout=16, fill="mean"
)


def noise(count: int, size: int) -> Tensor:
    """Random images, some of little contrast, some of one colour, some of two."""
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.randint(256, (count, 3, size, size), generator=generator).to(torch.uint8)
    images_BCHW[::3] = images_BCHW[::3] // 3 + 40
    images_BCHW[1::7] = 77
    images_BCHW[2::11] = images_BCHW[2::11] // 128 * 200
    return images_BCHW


@pytest.fixture
def photographs(real_cifar10_jpeg: Path) -> Tensor:
    """3,000 of CIFAR-10's test images."""
    paths = sorted((real_cifar10_jpeg / "cifar10-jpeg" / "test").glob("*/*.jpg"))[: 2 * COUNT : 2]
    return torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths])


def applied(sub_policies: tuple[SubPolicy, ...], samples_B: Tensor, size: int) -> list[list[tuple[Any, ...]]]:
    """For each sample the operations that befall it: (name, level, sign, centre)."""
    chosen_B, chances_B2, signs_B2 = autoaugment.draw(len(sub_policies), SEED, EPOCH, samples_B)
    centres_B22 = autoaugment.draw_centres(SEED, EPOCH, samples_B, size)
    return [
        [
            (name, level, 1 if signs_B2[row, stage] else -1, tuple(centres_B22[row, stage].tolist()))
            for stage, (name, probability, level) in enumerate(sub_policies[chosen_B[row]])
            if chances_B2[row, stage] < probability
        ]
        for row in range(len(samples_B))
    ]


def pil(image_CHW: Tensor, mode: str) -> Image.Image:
    return Image.fromarray(image_CHW.permute(1, 2, 0).contiguous().numpy()).convert(mode)


def check(images_BCHW: Tensor, sub_policies: tuple[SubPolicy, ...], code: str) -> set[tuple[str, int, int]]:
    """Hold every image against the oracle, to the last grey value; which operations there were."""
    samples_B, cifar10 = torch.arange(len(images_BCHW)), code == "cifar10_authors"
    statement = autoaugment.authors(code, sub_policies)  # type: ignore[arg-type]
    if cifar10:
        images_BCHW = torch.cat([images_BCHW, torch.full_like(images_BCHW[:, :1], 255)], dim=1)
    before_BCHW = images_BCHW.clone()
    made_BCHW = autoaugment.transform(images_BCHW, statement, SEED, EPOCH, samples_B, alpha=cifar10)
    assert torch.equal(images_BCHW, before_BCHW) and made_BCHW.dtype == torch.uint8
    met = set()
    for sample, operations in enumerate(applied(sub_policies, samples_B, images_BCHW.shape[-1])):
        image = pil(images_BCHW[sample], "RGBA" if cifar10 else "RGB")
        for name, level, sign, centre in operations:
            image = (
                oracle.cifar10(image, name, level, sign, centre)
                if cifar10
                else oracle.imagenet(image, name, level, sign)
            )
            met.add((name, level, sign))
        expected_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert torch.equal(made_BCHW[sample], expected_CHW), (sample, operations)
    return met


CODES = {"cifar10_authors": oracle.CIFAR10, "imagenet_authors": oracle.IMAGENET}


@pytest.mark.parametrize("code", CODES)
class TestOperations:
    @pytest.mark.parametrize("images", ["noise", "photographs"])
    def test_each_at_each_level(self, code: str, images: str, request: pytest.FixtureRequest) -> None:
        images_BCHW = noise(COUNT, 32) if images == "noise" else request.getfixturevalue(images)
        singly = tuple(((name, 1.0, level), ("Invert", 0.0, 0)) for name in CODES[code] for level in range(11))
        met = check(images_BCHW, singly, code)
        assert met == set(itertools.product(CODES[code], range(11), (-1, 1)))

    @pytest.mark.parametrize("size", [32, 8, 47])
    def test_one_behind_another(self, code: str, size: int) -> None:
        """What a move leaves transparent stays so, moves on, or becomes opaque."""
        draw = np.random.default_rng(0)
        pairs = [((first, 1.0, int(draw.integers(11))), (second, 1.0, int(draw.integers(11))))
                 for first, second in itertools.product(CODES[code], repeat=2)]  # fmt: skip
        check(noise(1200, size), tuple(pairs), code)

    def test_of_the_published_policy(self, code: str) -> None:
        check(noise(1500, 32), CIFAR10_AUTHORS if code == "cifar10_authors" else IMAGENET_AUTHORS, code)


def test_at_level_9_nothing_of_an_imagenet_picture_is_left() -> None:
    """translate_const is 250 pixels, the picture has 224."""
    check(noise(6, 224), ((("TranslateY", 1.0, 9), ("Rotate", 0.5, 7)),), "imagenet_authors")
    check(noise(12, 224), IMAGENET_AUTHORS, "imagenet_authors")


def test_the_lists_are_the_published_ones() -> None:
    assert (len(CIFAR10_AUTHORS), len(IMAGENET_AUTHORS)) == (95, 25)
    digests = [
        hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12] for pairs in (CIFAR10_AUTHORS, IMAGENET_AUTHORS)
    ]
    assert digests == ["0837a07cf4bd", "1959f92d57f6"]


def pipeline(images_BCHW: Tensor, sample: int) -> np.ndarray:
    """One image as the authors' CIFAR code makes it under our draws, normalised; (H, W, 3)."""
    samples_1, mean, std = torch.tensor([sample]), np.array(INFO.mean), np.array(INFO.std)
    image = pil(images_BCHW[sample], "RGBA")
    for name, level, sign, centre in applied(CIFAR10_AUTHORS, samples_1, 32)[0]:
        image = oracle.cifar10(image, name, level, sign, centre)
    top, left, mirrored = randomness.uniform(SEED, "crop_flip", EPOCH, samples_1, 3)[0].tolist()
    row, column = (randomness.uniform(SEED, "cutout", EPOCH, samples_1, 2)[0] * 32).long().tolist()
    normalised = oracle.unwrapped(image, mean, std)
    return oracle.cropped(normalised, int(8 * top), int(8 * left), mirrored < 0.5, (row, column))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_whole_of_the_cifar10_code(photographs: Tensor, workers: int) -> None:
    images = MemoryImages(INFO, "train", "", torch.arange(COUNT) % 10, photographs)
    mean_C11, std_C11 = (torch.tensor(values)[:, None, None] for values in (INFO.mean, INFO.std))
    seen = 0
    for samples_B, x_BCHW, _ in batches(
        images, [torch.arange(0, COUNT, 8)], AUTHORS, SEED, EPOCH, "cpu", workers=workers
    ):
        assert x_BCHW.dtype == torch.float32
        normalised_BCHW = (x_BCHW - mean_C11) / std_C11
        for sample, made_CHW in zip(samples_B.tolist(), normalised_BCHW, strict=True):
            expected = pipeline(photographs, sample)
            made = made_CHW.permute(1, 2, 0).numpy()
            assert np.array_equal(made == 0, expected == 0)
            assert np.abs(made - expected).max() < 1e-5
            seen += 1
    assert seen == COUNT // 8


def test_each_field_is_one_step_of_it() -> None:
    """Without the fields the family is behind crop and flip, grey where nothing is, on black padding."""
    images_BCHW, samples_B = noise(300, 32), torch.arange(300)

    def made(**fields: Any) -> Tensor:
        augmentation = AutoAugment(policy="cifar10", family="cifar10_authors", **fields)
        return augment.augment_small(images_BCHW, augmentation, INFO, SEED, EPOCH, samples_B)

    def policy(x_BCHW: Tensor) -> Tensor:
        return autoaugment.autoaugment(x_BCHW, "cifar10", SEED, EPOCH, samples_B, "cifar10_authors")

    def crop(x_BCHW: Tensor, offsets: int | None = None) -> Tensor:
        return augment.crop_flip(x_BCHW, INFO, SEED, EPOCH, samples_B, offsets)

    assert torch.equal(made(), policy(crop(images_BCHW)))
    assert torch.equal(made(order="policy_first"), crop(policy(images_BCHW)))
    assert torch.equal(made(crop_offsets=1), policy(crop(images_BCHW, 1)))
    removed_BCHW = made(cutout=16)
    covered_B1HW = (removed_BCHW == 0).all(dim=1, keepdim=True)
    assert torch.equal(removed_BCHW, made().masked_fill(covered_B1HW, 0))
    assert (covered_B1HW.sum(dim=(1, 2, 3)) >= 64).all()
    border_BHW = (crop(torch.full_like(images_BCHW, 1)) == 0).all(dim=1)
    filled_BHWC = made(order="policy_first", fill="mean").permute(0, 2, 3, 1)
    assert border_BHW.any() and (filled_BHWC[border_BHW] == torch.tensor(INFO.mean)).all()


def drawn(
    images: ImageSet, split: Sequence[Tensor], augmentation: AutoAugment | CropFlip, **how: Any
) -> dict[int, Tensor]:
    """x_CHW of each sample."""
    made = batches(images, split, augmentation, how.pop("seed", SEED), how.pop("epoch", EPOCH), "cpu", **how)
    return {sample: x for samples_B, x_BCHW, _ in made for sample, x in zip(samples_B.tolist(), x_BCHW, strict=True)}


def same(one: dict[int, Tensor], other: dict[int, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_an_image_depends_on_seed_epoch_and_index_alone() -> None:
    images = MemoryImages(INFO, "train", "", torch.arange(40) % 10, noise(40, 32))
    together, mixed = drawn(images, [torch.arange(40)], AUTHORS), torch.randperm(40).split(7)
    assert same(together, drawn(images, mixed, AUTHORS)) and same(together, drawn(images, mixed, AUTHORS, workers=2))
    for others in ({"seed": SEED + 1}, {"epoch": EPOCH + 1}):
        other = drawn(images, [torch.arange(40)], AUTHORS, **others)
        assert sum(torch.equal(together[sample], other[sample]) for sample in together) < 4


@pytest.mark.parametrize("loader", ["torchvision", "dali"])
@pytest.mark.parametrize("workers", [0, 2])
def test_images_in_folders_get_it_behind_crop_and_flip(
    loader: Literal["torchvision", "dali"], workers: int, small_imagenet: Path
) -> None:
    """By either loader, a few at a time, and with an image missing."""
    if loader == "dali":
        pytest.importorskip("nvidia.dali")
    info, augmentation = datasets.info("imagenet"), AutoAugment(policy="imagenet", family="imagenet_authors")
    images = load(
        Data(name="imagenet", augment=augmentation, loader=loader if loader == "dali" else UNSET),
        "train",
        small_imagenet,
    )
    split = torch.randperm(len(images)).split(5)
    made, cropped = (
        drawn(images, split, augmentation, workers=workers),
        drawn(images, split, CropFlip(), workers=workers),
    )
    assert made.keys() == cropped.keys() and len(made) == len(images)
    changed = 0
    for sample, x_CHW in cropped.items():
        image = pil((x_CHW * 255).round().to(torch.uint8), "RGB")
        for name, level, sign, _ in applied(IMAGENET_AUTHORS, torch.tensor([sample]), info.size)[0]:
            image = oracle.imagenet(image, name, level, sign)
            changed += 1
        assert torch.equal(
            (made[sample] * 255).round().to(torch.uint8), torch.from_numpy(np.array(image)).permute(2, 0, 1)
        )
    assert changed


def test_a_crop_of_eight_offsets_never_takes_the_last() -> None:
    position_BCHW = torch.arange(32, dtype=torch.uint8).expand(1000, 3, 32, 32) + 1
    flipped = randomness.uniform(SEED, "crop_flip", EPOCH, torch.arange(1000), 3)[:, 2] < 0.5
    cropped_BCHW = augment.crop_flip(position_BCHW, INFO, SEED, EPOCH, torch.arange(1000), 8)
    middle_B = cropped_BCHW[:, 0, 16, 16].int()
    left_B = torch.where(flipped, middle_B - 12, middle_B - 13)
    assert set(left_B.tolist()) == set(range(8))
