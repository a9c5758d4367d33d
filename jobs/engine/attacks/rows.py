"""Images as rows, and the network that an attack asks about them. Shapes: B images, C channels, H by W pixels in
[0, 1], D = H W C values of an image in this order, K classes, T targets, R rows: an image comes once for each target.

An attack keeps its state in rows, so that a finished image is left out by one index. A row is an image that lies
channels last, so that no pass copies it. The network takes as many rows at a time as a CPU's caches hold: on a CPU a
pass over 500 images of 32 x 32 costs twice as much as eight over 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]
"""From images, BCHW, to logits, BK."""
Value = Callable[..., Tensor]
"""From logits, BK, and labels to what is climbed, B."""
S = TypeVar("S")

_VALUES_AT_ONCE = {"cpu": 3 * 2**16, "cuda": 3 * 2**20}
_LEAST_AT_ONCE = {"cpu": 8, "cuda": 64}
_ENOUGH = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True)
class Classifier:
    """A function from rows to logits."""

    logits_of: Logits
    channels: int
    height: int
    width: int
    at_once: int
    """Rows that one pass takes."""
    enough: int = 64
    """Rows of which one hardly costs less in a pass of more. With fewer images an attack looks ahead."""

    @classmethod
    def of(cls, logits_of: Logits, x_BCHW: Tensor, *, divisible: bool = True) -> Classifier:
        """Return the classifier of images like these; one that is not `divisible` takes all of them in every pass."""
        kind, values = x_BCHW.device.type, x_BCHW[0].numel()
        at_once = max(_LEAST_AT_ONCE.get(kind, 8), _VALUES_AT_ONCE.get(kind, 3 * 2**16) // values)
        channels, height, width = x_BCHW.shape[1:]
        enough = min(at_once, _ENOUGH.get(kind, 64))
        return cls(logits_of, channels, height, width, at_once if divisible else max(1, len(x_BCHW)), enough)

    def images(self, x_BD: Tensor) -> Tensor:
        """Return rows as BCHW: on a CPU without a copy, channels last."""
        x_BCHW = x_BD.view(-1, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return x_BCHW if x_BCHW.device.type == "cpu" else x_BCHW.contiguous()

    @torch.no_grad()
    def logits(self, x_BD: Tensor) -> Tensor:
        """Return the logits of rows, BK."""
        return torch.cat([self.forward(x_bD) for x_bD in torch.split(x_BD, self.at_once)])

    def gradient(self, x_BD: Tensor, value: Value, *labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits BK, value(logits, *labels) B and its gradient BD, all of one pass; what is not a number in a
        gradient counts as 0."""
        split = zip(*(torch.split(tensor, self.at_once) for tensor in (x_BD, *labels)), strict=True)
        passes = [self._gradient(x_bD, value, labels_b) for x_bD, *labels_b in split]
        return tuple(map(torch.cat, zip(*passes, strict=True)))  # type: ignore[return-value]

    def _gradient(self, x_bD: Tensor, value: Value, labels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            x_bD = x_bD.detach().requires_grad_()
            logits_bK = self.forward(x_bD)
            values_b = value(logits_bK, *labels)
            (gradient_bD,) = torch.autograd.grad(values_b.sum(), x_bD)
        return logits_bK.detach(), values_b.detach(), gradient_bD.nan_to_num()

    def forward(self, x_bD: Tensor) -> Tensor:
        """Return the logits of rows in one pass, in the precision of the images, not of the network."""
        return self.logits_of(self.images(x_bD)).to(x_bD.dtype)


def rows(x_BCHW: Tensor) -> Tensor:
    """Return images as rows, BD."""
    return x_BCHW.detach().permute(0, 2, 3, 1).flatten(1)


def kept(state: S, keep_B: Tensor) -> S:
    """Return a dataclass of tensors whose first dimension is B without the rows that are not to be kept."""
    places = keep_B.nonzero()[:, 0]
    return replace(state, **{one.name: getattr(state, one.name)[places] for one in fields(state)})  # type: ignore[type-var,arg-type]


@dataclass(frozen=True)
class Broken:
    """What an attack achieved."""

    wrong_B: Tensor
    """bool: the network is wrong at x."""
    x_BD: Tensor
    """A point within the ball and [0, 1] where it is wrong, else the image."""

    @classmethod
    def none(cls, x_BD: Tensor) -> Broken:
        """Return the outcome before an attack: no image is broken."""
        return cls(torch.zeros(len(x_BD), dtype=torch.bool, device=x_BD.device), x_BD.clone())

    def add(self, places_b: Tensor, x_bD: Tensor) -> None:
        """Record points where the network is wrong, for the images at these places."""
        self.wrong_B[places_b] = True
        self.x_BD[places_b] = x_bD

    def right(self) -> Tensor:
        """Return the places of the images that are not broken."""
        return (~self.wrong_B).nonzero()[:, 0]


Targeted = Callable[[Tensor, Tensor, Tensor], Broken]
"""(place of each row's image in the batch, its target, the target's rank), all R, to what is achieved in each row."""


def over_targets(attack: Targeted, x_BD: Tensor, target_BT: Tensor, *, enough: int) -> Broken:
    """Return what a targeted attack achieves toward one target after another; an image is left out as soon as it is
    wrong toward any. With few images left it takes several targets at a time, so that a pass is of some `enough` rows.
    """
    outcome, done = Broken.none(x_BD), 0
    while done < target_BT.shape[1] and len(todo_b := outcome.right()):
        several = max(1, min(target_BT.shape[1] - done, enough // len(todo_b)))
        image_R = todo_b.repeat_interleave(several)
        rank_R = torch.arange(done, done + several, device=x_BD.device).repeat(len(todo_b))
        broken = attack(image_R, target_BT[image_R, rank_R], rank_R)
        outcome.add(image_R[broken.wrong_B], broken.x_BD[broken.wrong_B])
        done += several
    return outcome
