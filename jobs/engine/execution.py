"""How training is computed where only rounding depends on it: `experiments.resources.Execution`."""

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


def check(execution: Execution, device: str) -> None:
    """InputError if this machine can not do what is asked for."""
    on_gpu = torch.device(device).type == "cuda"
    if execution.compile == "reduce-overhead" and not on_gpu:
        raise InputError(f"{PLACE}.compile", "reduce-overhead records CUDA graphs, and there is no GPU",
                         "allowed: off, default")  # fmt: skip
    compiler = os.environ.get("CXX") or "g++"
    if execution.compile != "off" and not on_gpu and shutil.which(compiler) is None:
        raise InputError(f"{PLACE}.compile", f"there is no C++ compiler {compiler!r} here", "allowed: off")


def prepare(model: CebModel, execution: Execution) -> None:
    """Have the network compiled when it is first used, if that is asked for: in place, so that its parameters keep
    their names. The head, which is small, is not."""
    if execution.compile != "off":
        mode = None if execution.compile == "default" else execution.compile
        # By way of `network.compile()` torch before 2.14 silently compiles nothing of an nn.Sequential.
        model.network.forward = torch.compile(model.network.forward, mode=mode)


def laid_out(x_BCHW: Tensor, run: Run, execution: Execution) -> Tensor:
    """The same images as they lie in memory for the network, which takes this over. Sums in another order round
    otherwise."""
    last = execution.channels_last
    if last is None:
        last = x_BCHW.device.type == "cpu" or run.precision in ("bf16", "tf32")
    return x_BCHW.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
