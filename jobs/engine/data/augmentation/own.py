"""Augmentation of one's own: a function of (images, rng) and its fields that returns images.

It gets images as the evaluation sees them, float32 in [0, 1], on the device.
Shapes: B images, C channels, H by W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from experiments.spec import Part
from jobs import own_parts
from jobs.engine.image_draws import ImageDraws
from jobs.own_parts import PartError


def own_augment(part: Part, seed: int, epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return (samples_B, x_BCHW) to augmented images, in [0, 1]; the draws of each are those of (seed, epoch, sample).

    Raises PartError for images of another shape.
    """
    function = own_parts.load(part, "augment")

    def augment(samples_B: Tensor, x_BCHW: Tensor) -> Tensor:
        rng = ImageDraws(seed, "own augment", epoch, samples_B, x_BCHW.device)
        augmented = function(x_BCHW, rng, **part.fields)
        if not isinstance(augmented, Tensor) or augmented.shape != x_BCHW.shape or not augmented.is_floating_point():
            got = f"shape {tuple(augmented.shape)}" if isinstance(augmented, Tensor) else type(augmented).__name__
            raise PartError(part, f"returns {got} for images {tuple(x_BCHW.shape)}; expected as many of their shape")
        return augmented.to(x_BCHW.dtype).clamp(0, 1)

    return augment
