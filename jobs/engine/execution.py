"""Settings of the computation that only rounding depends on: `experiments.resources.Execution`."""

from __future__ import annotations

import os
import shutil

import torch
from torch import Tensor

from experiments.errors import InputError
from experiments.resources import Execution
from experiments.spec import Run
from jobs.engine.models import CebModel

PLACE = "resources.train.execution"


def check_supported(execution: Execution, device: str) -> None:
    """Raise InputError if this machine does not support the execution."""
    on_gpu = torch.device(device).type == "cuda"
    if execution.compile == "reduce-overhead" and not on_gpu:
        raise InputError(f"{PLACE}.compile", "reduce-overhead records CUDA graphs, and there is no GPU",
                         "allowed: off, default")  # fmt: skip
    compiler = os.environ.get("CXX") or "g++"
    if execution.compile != "off" and not on_gpu and shutil.which(compiler) is None:
        raise InputError(f"{PLACE}.compile", f"there is no C++ compiler {compiler!r} here", "allowed: off")


def compile_network(model: CebModel, execution: Execution) -> None:
    """Compile the network at its first use, if the execution says so: in place, so that its parameters keep their
    names. The head is small, and stays as it is."""
    if execution.compile != "off":
        mode = None if execution.compile == "default" else execution.compile
        # By way of `network.compile()` torch before 2.14 silently compiles nothing of an nn.Sequential.
        model.network.forward = torch.compile(model.network.forward, mode=mode)


def to_memory_format(x_BCHW: Tensor, run: Run, execution: Execution) -> Tensor:
    """Return the images in the memory format that the network is to compute in: its layers keep that of their input.
    Sums in another order round otherwise."""
    channels_last = execution.channels_last
    if channels_last is None:
        channels_last = x_BCHW.device.type == "cpu" or run.precision in ("bf16", "tf32")
    return x_BCHW.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
