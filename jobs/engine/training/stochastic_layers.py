"""Dropout and stochastic depth in networks of libraries and of one's own, seeded for each image.

A layer's draw is a function of (seed, epoch, sample, number of the draw in the forward pass), as all other random
numbers: the same after an interruption, in any batch, at any number of processes. So are the draws of torch's dropout
functions and modules, of `scaled_dot_product_attention`, and of `Tensor.bernoulli_`, which timm's and torchvision's
stochastic depth call. What else a layer draws (patch dropout, masks, the attention dropout within
`nn.MultiheadAttention`) comes from torch's generator, seeded by the first image of the part: the same after an
interruption, and with another number of processes only under `replica_batch`.

Shapes: B images, n numbers for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from experiments import datasets
from experiments.errors import InputError
from experiments.spec import LibraryNetwork, Part, Run
from jobs.engine import randomness
from jobs.engine.models import without_weights

_CHANNELWISE = (functional.dropout1d, functional.dropout2d, functional.dropout3d)


def check_compilable(run: Run) -> None:
    """Raise InputError for a library's network that draws masks: in compiled code none can take their place."""
    if not isinstance(run.network, LibraryNetwork):
        return
    info = datasets.info(run.data.name)
    network = without_weights(run.network, info).train()
    x_BCHW = torch.zeros(2, info.channels, info.size, info.size, device=next(network.parameters()).device)
    with torch.no_grad(), SampledDropout(run.seed, 0, torch.arange(2, device=x_BCHW.device)) as masks:
        network(x_BCHW)
    if masks.draws:
        wrong = f"{run.network.model} draws dropout or stochastic depth for each image, which can't be compiled"
        raise InputError("resources.train.execution.compile", wrong, "allowed: off")


@contextmanager
def sampled(run: Run, epoch: int, samples_B: Tensor) -> Iterator[None]:
    """Draw the masks of these samples' forward pass within the context. This engine's networks and objectives draw
    none."""
    if not isinstance(run.network, LibraryNetwork | Part) and not isinstance(run.objective, Part):
        yield
        return
    devices = [samples_B.device] if samples_B.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), SampledDropout(run.seed, epoch, samples_B):
        torch.manual_seed(int(randomness.bits(run.seed, "layers", epoch, samples_B[:1].cpu(), 1)))
        yield


class SampledDropout(TorchFunctionMode):
    """Replaces the random masks of what is called within it, for a batch of these samples."""

    def __init__(self, seed: int, epoch: int, samples_B: Tensor) -> None:
        super().__init__()
        self._seed, self._epoch, self._samples_B = seed, epoch, samples_B
        self.draws = 0
        """The number of masks so far."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout or func in _CHANNELWISE:
            return self._dropout(func, *args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if func is Tensor.bernoulli_ and self._fits(args[0]):
            return self._bernoulli(*args, **kwargs)
        return func(*args, **kwargs)

    def _fits(self, tensor: Tensor) -> bool:
        """Return whether the rows of a tensor are the samples, or equally many rows for each in turn."""
        return tensor.ndim > 0 and tensor.shape[0] > 0 and tensor.shape[0] % len(self._samples_B) == 0

    def _kept(self, shape: Sequence[int], keep: float, like: Tensor) -> Tensor:
        """Return a mask of ones with probability `keep` and zeros, of a shape that `_fits`."""
        self.draws += 1
        n = math.prod(shape) // len(self._samples_B)
        stream = f"dropout {self.draws}"
        drawn_Bn = randomness.uniform(self._seed, stream, self._epoch, self._samples_B, n, torch.float32)
        return (drawn_Bn < keep).to(like.dtype).view(tuple(shape))

    def _bernoulli(self, tensor: Tensor, p: float = 0.5, **_: Any) -> Tensor:
        return tensor.copy_(self._kept(tensor.shape, p, tensor))

    def _dropout(
        self, func: Callable[..., Tensor], x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0 or not self._fits(x):
            return func(x, p, training, inplace)
        if p == 1:
            return x * 0
        shape = (*x.shape[:2], *[1] * (x.ndim - 2)) if func in _CHANNELWISE else x.shape
        return x * (self._kept(shape, 1 - p, x) / (1 - p))

    def _attention(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, **options: Any
    ) -> Tensor:
        """Return attention whose weights are dropped; the fused kernels draw by themselves."""
        if dropout_p == 0 or options.get("is_causal") or options.get("enable_gqa") or not self._fits(q):
            return functional.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, **options)
        weights = q @ k.transpose(-2, -1) * (options.get("scale") or q.shape[-1] ** -0.5)
        if attn_mask is not None:
            weights = (
                weights.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else weights + attn_mask
            )
        return self._dropout(functional.dropout, weights.softmax(dim=-1), dropout_p) @ v
