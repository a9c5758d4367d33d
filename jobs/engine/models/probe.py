"""Measures a built network: the dimensions of z, and what an image costs in operations and memory.

On the meta device nothing is computed and no memory is used. The counter of operations is torch's own
(`torch.utils.flop_counter`), which counts convolutions and matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from experiments.errors import InputError

_IMAGES = 2
"""BatchNorm in training wants more than one image."""


@dataclass(frozen=True)
class Probe:
    """The size of a network, without its head, and its costs per image."""

    z_dim: int
    parameters: int
    macs: int
    """Multiplications with an addition, forward."""
    activations: int
    """Elements of the tensors that the forward pass keeps for the backward pass."""
    largest: int
    """Elements of the largest of them."""
    batch_norm: bool
    """Whether it normalises by statistics of the batch."""


def probe(network: nn.Module, channels: int, size: int) -> Probe:
    """Return what a network costs per image of this shape, in training mode, on the device that its weights are on.

    Raises InputError if it returns anything but features of shape (B, Z).
    """
    x_BCHW = torch.zeros(_IMAGES, channels, size, size, device=_device(network))
    flops = FlopCounterMode(display=False)
    with flops, torch.no_grad():
        z_dim = _dimensions(network(x_BCHW))
    activations, largest = _saved_activations(network, x_BCHW)
    return Probe(
        z_dim=z_dim,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=flops.get_total_flops() // (2 * _IMAGES),
        activations=activations // _IMAGES,
        largest=largest // _IMAGES,
        batch_norm=any(isinstance(module, _BatchNorm) for module in network.modules()),
    )


def probe_z_dim(network: nn.Module, channels: int, size: int) -> int:
    """Return the dimensions of z alone, which takes one forward pass. Raises InputError as `probe` does."""
    x_BCHW = torch.zeros(_IMAGES, channels, size, size, device=_device(network))
    with torch.no_grad():
        return _dimensions(network(x_BCHW))


def _device(network: nn.Module) -> torch.device:
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _dimensions(f_BZ: object) -> int:
    """Return the dimensions of z of what a network returned for `_IMAGES` images."""
    if isinstance(f_BZ, Tensor) and f_BZ.ndim == 2 and f_BZ.shape[0] == _IMAGES and f_BZ.is_floating_point():
        return f_BZ.shape[1]
    shape = f"a tensor of shape {tuple(f_BZ.shape)}" if isinstance(f_BZ, Tensor) else type(f_BZ).__name__
    raise InputError("network", f"returned {shape} for {_IMAGES} images", f"expected features, ({_IMAGES}, Z)")


def _saved_activations(network: nn.Module, x_BCHW: Tensor) -> tuple[int, int]:
    """Return the elements of all tensors that the forward pass saves for the backward pass, and of the largest one;
    tensors that share memory count once, parameters not at all."""
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved: dict[int, Tensor] = {}  # holding them keeps their memory from being reused

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in parameters:
            saved.setdefault(storage, tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x_BCHW)
    sizes = [tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in saved.values()]
    return sum(sizes), max(sizes, default=0)
