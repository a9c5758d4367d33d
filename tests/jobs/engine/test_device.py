"""What can be said of a GPU without one: nothing mixes devices, and nothing asks for a number that is there, for which
the CPU would wait until the GPU has caught up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import datasets, spec
from jobs.engine.attacks.random_start import random_start
from jobs.engine.data.augmentation.augment import augment_small
from jobs.engine.device import to_device

ROOT = Path(__file__).parents[3]


def test_a_step_neither_mixes_devices_nor_waits() -> None:
    command = [sys.executable, "-m", "tests.jobs.engine.fake_gpu_trial"]
    trial = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert trial.returncode == 0, trial.stderr
    *steps, number, mixed = trial.stdout.splitlines()
    assert len(steps) == 18
    assert [line for line in steps if not line.endswith(" cuda:0")] == []
    assert number == "a number is asked for: DataDependentOutputException"
    assert mixed.endswith(("FakeTensorDeviceMismatchError", "RuntimeError")), "by the version of torch"


def test_what_goes_to_a_gpu_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []
    real_to = torch.Tensor.to

    def to(tensor: torch.Tensor, device: torch.device, **how: Any) -> torch.Tensor:
        asked.append((device.type, how))
        return tensor if device.type == "cuda" else real_to(tensor, device, **how)

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    assert to_device(torch.zeros(1), "cuda") == 1, "out of pinned memory"
    assert to_device(torch.zeros(1), "cpu") == 0
    assert asked == [("cuda", {"non_blocking": True}), ("cpu", {})]


@pytest.mark.parametrize(
    "augment", [spec.CropFlip(), spec.AutoAugment(policy="cifar10"), spec.AutoAugment(policy="imagenet")]
)
def test_augmentation_asks_for_no_pixel(augment: Any) -> None:
    """On `meta`, whose tensors hold nothing, while what is drawn on the CPU is real."""
    images_BCHW = torch.empty(200, 3, 32, 32, dtype=torch.uint8, device="meta")
    made_BCHW = augment_small(images_BCHW, augment, datasets.info("cifar10"), 0, 1, torch.arange(200))
    assert (made_BCHW.shape, made_BCHW.dtype, made_BCHW.device) == (images_BCHW.shape, torch.uint8, images_BCHW.device)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_starts_without_a_look_at_the_images(norm: Any) -> None:
    x_BCHW = torch.empty(8, 3, 32, 32, device="meta")
    start_BCHW = random_start(x_BCHW, norm=norm, eps=0.1, seed=0, samples_B=torch.arange(8))
    assert (start_BCHW.shape, start_BCHW.device) == (x_BCHW.shape, x_BCHW.device)
