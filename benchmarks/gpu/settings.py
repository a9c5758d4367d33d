"""Settings of the computation on the device, each against another: precision, memory layout, updates, compiling, CUDA
graphs. `benchmarks/step.py --settings` has their speed.

In float32 they differ by sums in another order: 1e-4 of the losses of a few steps. TF32 rounds factors to 10 bits and
bf16 to 7: 1e-2 and 5e-2. Of updates it is 1e-3: among millions of activations the last bit decides the sign of some,
and the gradient jumps there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec
import torch

from benchmarks.gpu.results import Result, at_most, distance, guarded, measured, skipped
from benchmarks.gpu.steps import Steps, synthetic, take_steps
from experiments import spec
from experiments.resources import Execution
from jobs.engine.data.images import MemoryImages

PLAIN = Execution(channels_last=False, update="for-loop")


@dataclass(frozen=True)
class Setting:
    """One way to compute the same steps."""

    name: str
    execution: Execution = PLAIN
    precision: str = "fp32"
    tolerance: float = 1e-4
    gpu_only: bool = False


SETTINGS = [
    Setting("plain"),
    Setting("plain again"),
    Setting("channels last", Execution(channels_last=True, update="for-loop")),
    Setting("foreach", Execution(channels_last=False, update="foreach")),
    Setting("fused", Execution(channels_last=False)),
    Setting("bf16", precision="bf16", tolerance=5e-2),
    Setting("tf32", precision="tf32", tolerance=1e-2, gpu_only=True),
    Setting("compiled", Execution(compile="default", channels_last=False, update="for-loop")),
    Setting("CUDA graphs", Execution(compile="reduce-overhead", channels_last=False, update="for-loop"), gpu_only=True),
    Setting("CUDA graphs, bf16, fused", Execution(compile="reduce-overhead"), "bf16", 5e-2, gpu_only=True),
]  # fmt: skip


def settings(device: str, small: bool) -> Iterator[Result]:
    """Compare the losses of some steps by each setting with those of the plain one, and those of pairs."""
    batch, steps = (8, 2) if small else (64, 8)
    images = synthetic("cifar10", 4 * batch)
    run = spec.Run(
        data=spec.Data(name="cifar10"), network=spec.WideResNet(blocks=1, width=1, norm="batch"),
        objective=spec.Ceb(rho=3.0), optimiser=spec.Sgd(lr=1e-3), epochs=100, batch=batch,
    )  # fmt: skip
    done: dict[str, Steps] = {}
    for setting in SETTINGS:
        if setting.gpu_only and torch.device(device).type != "cuda":
            yield skipped(setting.name, "it is for GPUs alone")
            continue
        if setting.precision == "tf32" and not torch.cuda.is_tf32_supported():
            yield skipped(setting.name, "the device has no TF32")
            continue
        if small and setting.execution.compile != "off":
            yield skipped(setting.name, "to compile takes too long for a small check")
            continue
        changed = msgspec.structs.replace(run, precision=setting.precision)
        yield from guarded(setting.name, partial(_steps, setting, changed, images, device, steps, done))
    equal = torch.equal(done["plain"].update_P, done["plain again"].update_P)
    yield measured("plain again: bit for bit", "equal" if equal else "differs, as sums on a GPU may")
    update = distance(done["fused"].update_P, done["foreach"].update_P)
    yield at_most("fused against foreach", update, 1e-3, "updates' relative distance")
    if {"CUDA graphs", "compiled"} <= done.keys():
        yield _losses("CUDA graphs against compiled", done["CUDA graphs"], done["compiled"], 1e-4)


def _steps(
    setting: Setting, run: spec.Run, images: MemoryImages, device: str, steps: int, done: dict[str, Steps]
) -> Iterator[Result]:
    """Add the steps of a setting, and compare them with the plain ones."""
    done[setting.name] = take_steps(run, images, device, steps, setting.execution)
    if setting.name != "plain":
        yield _losses(setting.name, done[setting.name], done["plain"], setting.tolerance)


def _losses(name: str, steps: Steps, reference: Steps, tolerance: float) -> Result:
    return at_most(
        name,
        distance(torch.tensor(steps.losses), torch.tensor(reference.losses)),
        tolerance,
        "losses' relative distance",
    )
