"""The arithmetic of a run: fp32, bf16 for the network alone, or fp64 throughout."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.spec import Run
from jobs.engine.models import CebModel


def encode(model: CebModel, run: Run, x_BCHW: Tensor) -> Tensor:
    """The mean encoding as it is computed in training: the network under bf16 autocast if the run says so. What it
    returns, and so the head and the loss, is in the parameters' precision."""
    # No cache of rounded weights: it lives until the outermost autocast context ends, and with the whole of training
    # inside one (`full_precision`) every step would see the weights of the first.
    bf16 = run.precision == "bf16"
    with torch.autocast(x_BCHW.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
        return model.encode(x_BCHW)
