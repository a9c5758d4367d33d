"""Random Erasing against torchvision's own distribution."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision import transforms

from experiments import datasets
from jobs.engine.data.augmentation import erasing

MEAN = datasets.info("cifar10").mean
SAMPLES_B = torch.arange(2000)


def test_rectangles_are_distributed_as_torchvisions() -> None:
    covered_BHW = erasing.rectangles(32, 1, 2, SAMPLES_B)
    image_CHW, drawn = torch.zeros(3, 32, 32), []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in SAMPLES_B:
            top, left, height, width, _ = transforms.RandomErasing.get_params(
                image_CHW, (0.02, 0.33), (0.3, 3.3), [0.0]
            )
            drawn.append((top, left, height, width))
    tops_B, lefts_B, heights_B, widths_B = torch.tensor(drawn).unbind(1)
    rows_BH, columns_BW = covered_BHW.any(2), covered_BHW.any(1)
    assert torch.equal(covered_BHW.sum((1, 2)), rows_BH.sum(1) * columns_BW.sum(1))  # each is one rectangle
    for ours_B, theirs_B in (
        (rows_BH.sum(1), heights_B),
        (columns_BW.sum(1), widths_B),
        (covered_BHW.sum((1, 2)), heights_B * widths_B),
        (rows_BH.int().argmax(1), tops_B),
        (columns_BW.int().argmax(1), lefts_B),
    ):
        assert stats.ks_2samp(ours_B.numpy(), theirs_B.numpy()).pvalue > 0.01


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_so_many_images_get_the_mean_colour_and_the_others_stay(probability: float) -> None:
    x_BCHW = torch.rand(2000, 3, 8, 8)
    erased_BCHW = erasing.erase(x_BCHW, probability, MEAN, 1, 2, SAMPLES_B)
    changed_BHW = (erased_BCHW != x_BCHW).any(1)
    assert changed_BHW.any((1, 2)).float().mean() == pytest.approx(probability, abs=0.03)
    assert torch.equal(
        erased_BCHW[0, :, changed_BHW[0]], torch.tensor(MEAN)[:, None].expand(-1, int(changed_BHW[0].sum()))
    )


def test_an_image_too_small_for_any_rectangle_stays() -> None:
    assert not erasing.rectangles(1, 1, 2, SAMPLES_B).any()
