"""Training steps on a GPU that is not there: `python fake_gpu_trial.py`, one line for each run, and what went wrong.

By tensors that hold no numbers and only claim to be on `cuda`. Its autograd needs a driver, so gradients are zeros. A
process of its own, because torch takes autograd for threaded in one that has seen such tensors, and won't be forked.
"""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from experiments import datasets, spec
from jobs.engine.data.augmentation import erasing, mixing
from jobs.engine.models import CebModel
from jobs.engine.training import encoder_noise, step
from jobs.engine.training import train_state as states
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.train_state import initial_state
from tests.jobs.engine.conftest import TINY

CIFAR, IMAGENET = spec.Data(name="cifar10"), spec.Data(name="imagenet")
BATCH_NORM = spec.WideResNet(blocks=1, width=1, norm="batch", z_dim=4)
RUNS: dict[str, dict[str, Any]] = {
    "xent": {"objective": spec.Xent()},
    "vib": {"objective": spec.Vib(rho=1.0)},
    "ceb": {"objective": spec.Ceb(rho=1.0)},
    "cceb": {"objective": spec.Cceb(rho=1.0)},
    "bf16": {"precision": "bf16"},
    "fp64": {"precision": "fp64"},
    "parts": {"data": CIFAR, "network": BATCH_NORM, "replica_batch": 4},
    "linf": {"adversary": spec.PgdAdversary(norm="linf", eps=0.1, steps=2, step_size=0.05)},
    "l2": {"adversary": spec.PgdAdversary(norm="l2", eps=0.1, steps=2, step_size=0.05)},
    "recipe": {
        "label_smoothing": 0.1, "clip_norm": 1.0, "ema_decay": 0.9, "schedule": spec.Schedule(name="cosine"),
        "optimiser": spec.AdamW(), "data": spec.Data(name="digits", mixup=0.2, cutmix=1.0, erasing=0.5),
    },
    "mixed, cceb": {"objective": spec.Cceb(rho=1.0), "data": spec.Data(name="digits", mixup=0.2)},
    "nadam": {"optimiser": spec.NAdam()},
    "radam": {"optimiser": spec.RAdam()},
    "adamax": {"optimiser": spec.Adamax()},
    "adadelta": {"optimiser": spec.Adadelta()},
    "rmsprop": {"optimiser": spec.RmsProp()},
    "rmsprop, tensorflow": {"optimiser": spec.RmsProp(form="tensorflow", momentum=0.9)},
    "resnet": {"data": IMAGENET, "network": spec.ResNet(depth=50)},
}  # fmt: skip


def main() -> None:
    warnings.filterwarnings("ignore", "CUDA is not available")
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.Tensor.pin_memory = lambda tensor: tensor  # type: ignore[assignment, method-assign]
    torch.autograd.grad = lambda _, to: (torch.zeros_like(to),)  # type: ignore[assignment]
    torch.bincount = lambda _, minlength: torch.ones(minlength)  # type: ignore[assignment]
    states.build = _built
    for name, fields in RUNS.items():
        with FakeTensorMode(allow_non_fake_inputs=True):
            print(name, _taken(msgspec.structs.replace(TINY, **fields)))
    with FakeTensorMode():
        there = torch.ones(1, device="cuda")
        print("a number is asked for:", _wrong(lambda: there.item()))
        print("devices are mixed:", _wrong(lambda: there + torch.ones(2)))


def _built(run: spec.Run, build: Any = states.build) -> CebModel:
    with unset_fake_temporarily():
        model: CebModel = build(run)
    return model


def _taken(run: spec.Run) -> str:
    info = datasets.info(run.data.name)
    labels_N = torch.zeros(60, dtype=torch.int64)
    state = initial_state(run, labels_N, "cuda")

    def backward(loss: torch.Tensor) -> None:
        for parameter in state.model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    torch.Tensor.backward = backward  # type: ignore[assignment, method-assign]
    x_BCHW = torch.rand(8, info.channels, info.size, info.size, device="cuda")
    now = step.scheduled_values(state, EpochSampler(run, 60))
    try:
        noise_BZ = encoder_noise.draw(run, 0, torch.arange(8), "cuda")
        y_B = labels_N[:8].to("cuda")
        if run.data.erasing:
            x_BCHW = erasing.erase(x_BCHW, run.data.erasing, info.mean, 0, 0, torch.arange(8))
        if run.data.mixup:
            with unset_fake_temporarily():
                mixture = mixing.draw(run.data, info.size, 0, 0, torch.arange(8))
            x_BCHW, y_B = mixing.mix(x_BCHW, x_BCHW.flip(0), y_B, y_B.flip(0), mixture, info.classes)
            y_B = y_B.float()
        values = step.train_step(state, now, 0, torch.arange(8), x_BCHW, y_B, noise_BZ)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return " ".join({str(tensor.device) for tensor in (*values.values(), *state.model.parameters())})


def _wrong(ask: Any) -> str:
    try:
        return str(ask())
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    main()
