"""AutoAugment in batches, against torchvision's transform of one image under the same draw."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor
from torchvision import transforms

from experiments import datasets
from experiments.spec import AutoAugment
from jobs.engine.data.augmentation import augment, autoaugment

COUNT, SEED, EPOCH = 600, 0, 1
"""A draw in which each operation of both policies comes up with each sign: see below."""


def images(channels: int, size: int) -> Tensor:
    """Noise, some of it of little contrast, some of one colour."""
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.randint(256, (COUNT, channels, size, size), generator=generator).to(torch.uint8)
    images_BCHW[::3] = images_BCHW[::3] // 3 + 40
    images_BCHW[1::7] = 77
    return images_BCHW


@pytest.mark.parametrize("policy", ["cifar10", "imagenet"])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (1, 8)])
def test_each_image_is_torchvision_s(policy: autoaugment.Policy, channels: int, size: int) -> None:
    images_BCHW, samples_B = images(channels, size), torch.arange(COUNT)
    before_BCHW = images_BCHW.clone()
    made_BCHW = autoaugment.autoaugment(images_BCHW, policy, SEED, EPOCH, samples_B)
    assert torch.equal(images_BCHW, before_BCHW) and made_BCHW.dtype == torch.uint8
    drawn = autoaugment.draw(25, SEED, EPOCH, samples_B)
    theirs = transforms.AutoAugment(autoaugment.POLICIES[policy], fill=[128] * channels)
    for sample in range(COUNT):
        pair, chances_2, signs_2 = (one[sample] for one in drawn)
        with mock.patch.object(theirs, "get_params", return_value=(int(pair), chances_2, signs_2)):
            assert torch.equal(made_BCHW[sample], theirs(images_BCHW[sample])), theirs.policies[int(pair)]


@pytest.mark.parametrize("policy", ["cifar10", "imagenet"])
def test_of_these_images_each_operation_befalls_some_with_each_sign(policy: autoaugment.Policy) -> None:
    pairs = transforms.AutoAugment(autoaugment.POLICIES[policy]).policies
    drawn = autoaugment.draw(25, SEED, EPOCH, torch.arange(COUNT))
    met = {
        (name, level, sign)
        for pair, chances, signs in zip(*(one_B.tolist() for one_B in drawn), strict=True)
        for (name, share, level), chance, sign in zip(pairs[pair], chances, signs, strict=True)
        if chance <= share
    }
    possible = {(name, level) for pair in pairs for name, share, level in pair if share}
    assert met == {(*operation, sign) for operation in possible for sign in (0, 1)}


def test_the_draw_is_torchvision_s_law() -> None:
    """Pairs, chances and signs are uniform, each within five standard deviations, and of one sample only."""
    samples_B = torch.arange(20_000)
    pair_B, chances_B2, signs_B2 = autoaugment.draw(25, 0, 0, samples_B)
    counts = pair_B.bincount(minlength=25)
    assert len(counts) == 25 and (counts - 800).abs().max() < 5 * 800**0.5
    for chances_B in chances_B2.unbind(1):
        tenths = (10 * chances_B).long().bincount(minlength=10)
        assert len(tenths) == 10 and (tenths - 2000).abs().max() < 5 * 2000**0.5
    assert (signs_B2.sum(dim=0) - 10_000).abs().max() < 5 * 5000**0.5
    alone = autoaugment.draw(25, 0, 0, samples_B[[7, 3]])
    assert all(torch.equal(few, many[[7, 3]]) for few, many in zip(alone, (pair_B, chances_B2, signs_B2), strict=True))
    assert not torch.equal(autoaugment.draw(25, 0, 1, samples_B)[0], pair_B)


def test_comes_behind_crop_and_flip() -> None:
    info, samples_B = datasets.info("cifar10"), torch.arange(COUNT)
    images_BCHW = images(3, 32)
    made_BCHW = augment.augment_small(images_BCHW, AutoAugment(policy="cifar10"), info, 1, 2, samples_B)
    cropped_BCHW = augment.crop_flip(images_BCHW, info, 1, 2, samples_B)
    assert torch.equal(made_BCHW, autoaugment.autoaugment(cropped_BCHW, "cifar10", 1, 2, samples_B))
