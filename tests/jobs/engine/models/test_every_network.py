"""Every network there is a matrix for, and every network of the papers, takes a step on random images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from experiments import datasets, spec
from experiments.matrix import load
from jobs.engine.training import encoder_noise, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state

ROOT = Path(__file__).resolve().parents[4]
BASE = spec.Run(
    data=spec.Data(name="cifar10"),
    network=spec.WideResNet(blocks=4, width=10),
    objective=spec.Ceb(rho=0.0, jump_start=spec.GatedJumpStart()),
    optimiser=spec.Adam(),
    epochs=1,
    batch=2,
)
IMAGENET = msgspec.structs.replace(BASE, data=spec.Data(name="imagenet"), optimiser=spec.Sgd(lr=1.6, weight_decay=1e-4))
PAPERS = [
    BASE,
    msgspec.structs.replace(BASE, network=spec.WideResNet(blocks=4, width=10, norm="batch")),
    msgspec.structs.replace(BASE, network=spec.WideResNet(blocks=10, width=7, norm="batch")),
    msgspec.structs.replace(IMAGENET, network=spec.ResNet(50)),
    msgspec.structs.replace(IMAGENET, network=spec.ResNet(152, width=2), objective=spec.Cceb(rho=1.0)),
]


def runs() -> Iterator[spec.Run]:
    """One run for each pair of a data set and a network, of the papers and of all matrices."""
    found = {(run.data.name, run.network): run for run in PAPERS}
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        for planned in load.load(path).runs:
            found.setdefault((planned.run.data.name, planned.run.network), planned.run)
    yield from found.values()


def images(run: spec.Run) -> torch.Tensor:
    """Two images; of ImageNet smaller than they are, because all networks average over pixels at the end."""
    info = datasets.info(run.data.name)
    size = 64 if info.size > 64 else info.size
    return torch.rand(2, info.channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("run", list(runs()), ids=lambda run: f"{run.data.name} {run.network}")
def test_a_network_takes_a_step(run: spec.Run) -> None:
    y_B = torch.tensor([1, 7])
    state = initial_state(run, y_B, "cpu")
    state.step = 1  # where a warm-up is no longer at 0
    before = next(state.model.network.parameters()).clone()
    now = step.scheduled_values(state, EpochSampler(run, 2))
    samples_B = torch.tensor([0, 1])
    values = step.train_step(state, now, 0, samples_B, images(run), y_B, encoder_noise.draw(run, 0, samples_B, "cpu"))
    assert all(value.isfinite() for value in values.values())
    after = next(state.model.network.parameters())
    assert after.isfinite().all() and not torch.equal(before, after)
