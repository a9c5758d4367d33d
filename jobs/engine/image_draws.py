"""Random numbers for the images of a batch, as parts of one's own draw them.

Each number is a function of (seed, epoch, image, number of the draw): the same in any batch, after an interruption, and
at any number of processes. Shapes: B images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jobs.engine import randomness
from jobs.engine.device import to_device


class ImageDraws:
    """The random numbers of some images of an epoch. Each call draws others."""

    def __init__(self, seed: int, stream: str, epoch: int, samples_B: Tensor, device: torch.device) -> None:
        self._seed, self._stream, self._epoch = seed, stream, epoch
        self._samples_B = to_device(samples_B, device)
        self._draws = 0

    def uniform(self, *shape: int) -> Tensor:
        """Return numbers of [0, 1), of shape (B, *shape), float32."""
        numbers_Bn = randomness.uniform(self._seed, self._next(), self._epoch, self._samples_B, math.prod(shape))
        return numbers_Bn.view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers, of shape (B, *shape), float32."""
        numbers_Bn = randomness.normal(self._seed, self._next(), self._epoch, self._samples_B, math.prod(shape))
        return numbers_Bn.view(-1, *shape)

    def _next(self) -> str:
        self._draws += 1
        return f"{self._stream} {self._draws}"
