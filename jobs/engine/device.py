"""Copies from the CPU to the device of a run."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor of the CPU on the device, copied in the device's own order, without waiting for it. A copy out of
    pageable memory would wait, and then the GPU for the work that is prepared after it."""
    device = torch.device(device)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
