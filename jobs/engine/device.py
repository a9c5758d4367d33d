"""From the CPU to the device of a run."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the CPU on the device, in turn with what the device has to do, and without waiting for that: a copy
    out of pageable memory would wait, and the GPU then for what is prepared behind it."""
    device = torch.device(device)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
