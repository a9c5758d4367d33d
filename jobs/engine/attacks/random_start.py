"""Where an attack begins. Shapes: B images, C channels, H by W pixels in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.benchmarks import Norm
from jobs.engine import randomness
from jobs.engine.device import to_device


def random_start(x_BCHW: Tensor, *, norm: Norm, eps: float, seed: int, samples_B: Tensor, epoch: int = 0) -> Tensor:
    """A point for each image, uniform in the ball of radius `eps` around it and then clipped to [0, 1].

    A function of (seed, epoch, sample) alone: neither batch nor device changes it. Uniform in the l2 ball of
    d dimensions is a direction of normal numbers at the distance eps u^(1/d); a radius that is uniform itself,
    as some libraries draw it, would crowd the starts around the image.
    """
    features, samples_B = x_BCHW[0].numel(), to_device(samples_B, x_BCHW.device)
    if norm == "linf":
        drawn_BD = randomness.uniform(seed, "attack", epoch, samples_B, features)
        offset_BD = eps * (2 * drawn_BD - 1)
    else:
        normal_BD = randomness.normal(seed, "attack", epoch, samples_B, features, torch.float64)
        radius_B1 = randomness.uniform(seed, "attack_radius", epoch, samples_B, 1).double() ** (1 / features)
        offset_BD = eps * radius_B1 * normal_BD / normal_BD.norm(dim=1, keepdim=True)
    return (x_BCHW + offset_BD.to(x_BCHW).view_as(x_BCHW)).clamp(0, 1)
