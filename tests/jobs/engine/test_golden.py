"""A recorded run: a change that is not meant to alter the mathematics must leave these losses as they are.

Where it is meant to, write the file anew and say so in the commit:

    python -m tests.jobs.engine.test_golden
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import spec
from jobs.engine.data import batches, load
from jobs.engine.training import encoder_noise, step
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state

GOLDEN = Path(__file__).with_name("golden.json")
STEPS, EVERY = 200, 10
RELATIVE_TOLERANCE = 1e-9
"""Rounding differs between processors and versions of torch. Measured: weights that start 2e-12 off, relatively, end
with values 5e-12 off, so rounding errors of 1e-16 a step do not come near this."""

RUNS = {
    type(objective).__name__.lower(): spec.Run(
        data=spec.Data(name="digits", augment=spec.CropFlip()),
        network=spec.SmallCnn(width=6, z_dim=6),
        objective=objective,
        optimiser=spec.Adam(lr=1e-2, weight_decay=1e-4),
        schedule=spec.Schedule(warmup_epochs=2.0, drops=(8.0,), factor=0.3),
        epochs=10,
        batch=64,
        precision="fp64",
        seed=3,
    )
    for objective in (
        spec.Xent(),
        spec.Vib(rho=3.0, jump_start=spec.GammaJumpStart(steps=150)),
        spec.Ceb(rho=2.0, jump_start=spec.GammaJumpStart(steps=150)),
        spec.Cceb(rho=1.0, jump_start=spec.GatedJumpStart(epochs=1)),
    )
}


def losses(run: spec.Run) -> dict[str, list[float]]:
    """Every quantity of every tenth step."""
    images = load(run.data, "train", Path())
    length, state = EpochSampler(run, len(images)), initial_state(run, images.labels_N, "cpu")
    found: dict[str, list[float]] = {}
    while state.step < STEPS:
        epoch = state.step // length.steps_per_epoch
        for batch in batches(images, length.remaining_batches(state.step), run.data.augment, run.seed, epoch, "cpu"):
            noise_BZ = encoder_noise.draw(run, epoch, batch[0], "cpu")
            values = step.train_step(state, step.scheduled_values(state, length), epoch, *batch, noise_BZ)
            state.step += 1
            if state.step % EVERY == 0:
                for name, value in values.items():
                    found.setdefault(name, []).append(value.item())
    return found


@pytest.mark.parametrize("name", RUNS)
def test_the_losses_are_those_recorded(name: str) -> None:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())[name]
    found = losses(RUNS[name])
    assert found.keys() == recorded.keys()
    for quantity, values in found.items():
        assert values == pytest.approx(recorded[quantity], rel=RELATIVE_TOLERANCE, abs=1e-12), quantity


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.write_text(json.dumps({name: losses(run) for name, run in RUNS.items()}, indent=1) + "\n")
