"""BatchNorm whose statistics are over the images of all processes: torch's own layer on GPUs, one like it on CPUs.

Shapes: B images, C channels, H by W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from jobs.engine.models import CebModel
from jobs.engine.models.library_networks import import_timm


def synchronise(model: CebModel, device: str) -> None:
    """Replace every BatchNorm of a model that several processes train; parameters and statistics stay as they are."""
    if torch.device(device).type == "cuda":
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        if any(type(module).__module__.startswith("timm.") for module in model.modules()):
            # torch's would drop the activation in timm's BatchNormAct2d.
            convert = import_timm().layers.convert_sync_batchnorm
        convert(model)
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncBatchNorm2d(child))


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Computes in training what torch's SyncBatchNorm does, which works on GPUs alone."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features)
        self.__dict__.update(norm.__dict__)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise the images of this process, while the others normalise theirs."""
        if not self.training:
            return self._activated(super().forward(x_BCHW))
        wide_BCHW = x_BCHW.to(self.weight.dtype)  # under autocast they are bf16
        count = _over_all(wide_BCHW.new_tensor(x_BCHW.numel() / self.num_features))
        mean_C = _over_all(wide_BCHW.sum(dim=(0, 2, 3))) / count
        centred_BCHW = wide_BCHW - mean_C[:, None, None]
        variance_C = _over_all(centred_BCHW.square().sum(dim=(0, 2, 3))) / count
        self._track(mean_C.detach(), (variance_C * count / (count - 1)).detach())
        scale_C = self.weight * torch.rsqrt(variance_C + self.eps)
        y_BCHW = centred_BCHW * scale_C[:, None, None] + self.bias[:, None, None]
        return self._activated(y_BCHW.to(x_BCHW.dtype))

    def _activated(self, y_BCHW: Tensor) -> Tensor:
        """Apply the layers that timm's BatchNormAct2d has in itself."""
        for name in ("drop", "act"):
            y_BCHW = getattr(self, name)(y_BCHW) if hasattr(self, name) else y_BCHW
        return y_BCHW

    def _track(self, mean_C: Tensor, variance_C: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        summed = value.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _over_all(gradient)


def _over_all(value: Tensor) -> Tensor:
    """Return the sum over all processes, whose gradient is the sum over theirs."""
    summed: Tensor = _Sum.apply(value)
    return summed
