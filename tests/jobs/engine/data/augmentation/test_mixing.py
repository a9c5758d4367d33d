"""mixup and CutMix against torchvision's own, their draws, and the labels of every objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from PIL import Image
from scipy import stats
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from experiments import datasets, spec
from experiments.resources import Execution
from jobs.engine.data import FolderImages, load, training_batches
from jobs.engine.data.augmentation import mixing
from jobs.engine.distributed import Group
from jobs.engine.models import build
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.loss_module import LossModule

SAMPLES_B = torch.arange(2000)


def data(**fields: float) -> spec.Data:
    return spec.Data(name="digits", **fields)  # type: ignore[arg-type]


def test_lam_is_of_the_beta_distribution() -> None:
    drawn = mixing.draw(data(mixup=0.3), 8, 1, 2, SAMPLES_B)
    assert stats.kstest(drawn.share_B.numpy(), stats.beta(0.3, 0.3).cdf).pvalue > 0.01


def test_each_is_as_probable_as_it_is_said() -> None:
    both = mixing.draw(data(mixup=1.0, cutmix=1.0, mix_probability=0.6), 32, 1, 2, SAMPLES_B)
    spread_B = both.kept_BHW.flatten(1).std(dim=1)
    mixed_B = both.share_B < 1
    cut_B = spread_B > 0
    assert mixed_B.double().mean() == pytest.approx(0.6, abs=0.04)
    assert (cut_B & mixed_B).double().sum() / mixed_B.sum() == pytest.approx(0.5, abs=0.05)
    assert (mixing.draw(data(cutmix=1.0), 32, 1, 2, SAMPLES_B).kept_BHW % 1 == 0).all()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixture_is_torchvisions_of_the_same_draw(kind: str) -> None:
    pair_2CHW, labels_2 = torch.rand(2, 3, 16, 16), torch.tensor([4, 1])  # partner, image
    for sample in range(30):
        drawn = mixing.draw(data(**{kind: 1.0}), 16, 1, 2, torch.tensor([sample]))
        ours_1CHW, ours_1K = mixing.mix(pair_2CHW[1:], pair_2CHW[:1], labels_2[1:], labels_2[:1], drawn, 6)
        theirs: Any = v2.MixUp(num_classes=6) if kind == "mixup" else v2.CutMix(num_classes=6)
        params: dict[str, Any] = {"labels": labels_2, "batch_size": 2, "lam": float(drawn.share_B)}
        if kind == "cutmix":
            rows, columns = ((drawn.kept_BHW[0] == 0).any(axis).nonzero()[:, 0] for axis in (1, 0))
            if not len(rows):
                continue
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            params |= {"box": box, "lam_adjusted": 1 - len(rows) * len(columns) / 256}
        images = theirs.transform(tv_tensors.Image(pair_2CHW), params)
        torch.testing.assert_close(ours_1CHW[0], images[1].as_subclass(Tensor))
        torch.testing.assert_close(ours_1K[0].float(), theirs.transform(labels_2, params)[1].float())


def test_the_rectangles_of_cutmix_are_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own arithmetic, of the same lam and centre."""
    lam_B = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    covered_BHW = mixing.rectangles(lam_B, 16, 1, 2, torch.arange(50))
    from jobs.engine import randomness

    centres_B2 = (randomness.uniform(1, "cutmix", 2, torch.arange(50), 2) * 16).long()
    theirs = v2.CutMix(num_classes=2)
    for number, lam in enumerate(lam_B):
        centre = iter(centres_B2[number].flip(0).tolist())
        monkeypatch.setattr(theirs._dist, "sample", lambda *_, lam=lam: lam[None])
        monkeypatch.setattr(torch, "randint", lambda *_, centre=centre, **__: torch.tensor([next(centre)]))
        left, top, right, bottom = theirs.make_params([tv_tensors.Image(torch.zeros(2, 3, 16, 16))])["box"]
        expected_HW = torch.zeros(16, 16, dtype=torch.bool)
        expected_HW[top:bottom, left:right] = True
        assert torch.equal(covered_BHW[number], expected_HW)


@pytest.mark.parametrize("objective", [spec.Xent(), spec.Vib(rho=1.0), spec.Ceb(rho=1.0), spec.Cceb(rho=1.0)])
def test_every_loss_is_the_mean_over_the_two_labels(change: Callable[..., spec.Run], objective: Any) -> None:
    run = change(objective=objective, label_smoothing=0.1, precision="fp64")
    module = LossModule(run, build(run), Execution())
    x_1CHW, noise_1Z = torch.rand(1, 1, 8, 8, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    mixed_1K = torch.zeros(1, 10, dtype=torch.float64)
    mixed_1K[0, 3], mixed_1K[0, 5] = 0.7, 0.3
    (mixed, said), (first, of_first), (second, of_second) = (
        module(x_1CHW, y, noise_1Z, 0.4) for y in (mixed_1K, torch.tensor([3]), torch.tensor([5]))
    )
    torch.testing.assert_close(mixed, 0.7 * first + 0.3 * second)
    for name, value in said.items():
        torch.testing.assert_close(value, 0.7 * of_first[name] + 0.3 * of_second[name])


def mixed_by_sample(run: spec.Run, ranks: int, batch: int) -> dict[int, tuple[Tensor, Tensor]]:
    """The first epoch's images and labels, by the image that each is of."""
    images, run = load(run.data, "train", None), structs.replace(run, batch=batch)  # type: ignore[arg-type]
    sampler = EpochSampler(run, len(images))
    drawn = {}
    for rank in range(ranks):
        group = Group(rank, ranks)
        shards = [group.shard(samples_B, 1) for samples_B in sampler.remaining_batches(0)]
        for samples_B, x_BCHW, labels_BK in training_batches(images, shards, run, 0, sampler.order(0), "cpu"):
            drawn |= {int(sample): (x_BCHW[row], labels_BK[row]) for row, sample in enumerate(samples_B)}
    return drawn


def test_mixtures_depend_neither_on_the_batch_nor_on_processes(change: Callable[..., spec.Run]) -> None:
    mixing_data = spec.Data(name="digits", train_subset=60, augment=spec.CropFlip(), erasing=0.5, mixup=0.8, cutmix=1.0)
    run = change(data=mixing_data)
    whole = mixed_by_sample(run, 1, 60)
    assert len(whole) == 60
    for ranks, batch in ((2, 10), (3, 20), (1, 7)):
        for sample, (x_CHW, labels_K) in mixed_by_sample(run, ranks, batch).items():
            assert torch.equal(x_CHW, whole[sample][0]) and torch.equal(labels_K, whole[sample][1])
    assert all(float(labels_K.sum()) == pytest.approx(1) for _, labels_K in whole.values())


def test_an_image_without_a_readable_partner_is_not_mixed(change: Callable[..., spec.Run], tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    names_N = np.array([b"bad.png", *[b"good.png"] * 2000])
    info, labels_N = datasets.info("cifar10"), torch.arange(2001) % 10
    images = FolderImages(info, "train", "", labels_N, tmp_path, names_N, crop=None)
    run = change(data=spec.Data(name="imagenet", mixup=1.0))
    order_N = torch.tensor([4, 2, 0, *range(5, 2001), 1, 3])
    ((samples_B, x_BCHW, labels_BK),) = training_batches(images, [torch.tensor([4, 2])], run, 0, order_N, "cpu")
    assert samples_B.tolist() == [4, 2] and list(images.corrupt) == [0]
    torch.testing.assert_close(x_BCHW[0], x_BCHW[1])
    assert labels_BK[1].tolist() == [0, 0, 1] + [0] * 7 and 0 < labels_BK[0, 4] < 1
