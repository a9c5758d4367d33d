"""The precision of a run: fp32, with TF32 or without, bf16 for the network alone, or fp64 throughout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from experiments.errors import InputError
from experiments.spec import Run
from jobs.engine.attacks.precision import full_precision
from jobs.engine.models import CebModel


@contextmanager
def training_precision(run: Run, device: str) -> Iterator[None]:
    """Set the precision that a run trains in, whatever is set outside: fp32 is that of IEEE 754, unless the run says
    TF32. Raises InputError if this device has none."""
    tf32 = run.precision == "tf32"
    if tf32 and not (torch.device(device).type == "cuda" and torch.cuda.is_tf32_supported()):
        raise InputError("precision", "tf32 is for GPUs that have it, and this machine has none", "allowed: fp32, bf16")
    with full_precision(device):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        yield


def encode(model: CebModel, run: Run, x_BCHW: Tensor) -> Tensor:
    """Return the mean encoding as it is computed in training."""
    return model.mean_of(encoding(model, run, x_BCHW))


def encoding(model: CebModel, run: Run, x_BCHW: Tensor) -> Tensor:
    """Return the parameters of e(z|x) as they are computed in training: the network under bf16 autocast if the run says
    so. The encoding, and so the head and the loss, is in the parameters' precision."""
    if run.precision != "bf16":
        return model(x_BCHW)  # type: ignore[no-any-return]
    # No cache of rounded weights: it lives until the outermost autocast context ends, and with the whole of training
    # inside one (`arithmetic`) every step would see the weights of the first.
    with torch.autocast(x_BCHW.device.type, torch.bfloat16, cache_enabled=False):
        features_BF = model.features(x_BCHW)
    return model.encoding_of(features_BF)
