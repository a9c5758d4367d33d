"""How images lie in memory in training and while PGD attacks them; `rows` holds those of the other attacks."""

from __future__ import annotations

import torch
from torch import Tensor


def quick(x_BCHW: Tensor) -> Tensor:
    """The same images, on a CPU channels last: what follows takes this over, and convolutions of narrow networks are
    1.1 to 1.6 times as fast, those of wide ones as fast. Sums in another order round otherwise."""
    if x_BCHW.ndim != 4 or x_BCHW.device.type != "cpu":
        return x_BCHW
    return x_BCHW.contiguous(memory_format=torch.channels_last)
