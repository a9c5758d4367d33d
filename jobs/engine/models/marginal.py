"""Marginals m(z). Shapes: B samples, M components, Z dimensions of z, C channels, H by W pixels.

A mixture, because one Gaussian cannot give the rate ln K that K separated classes need. The papers do not say what
they used.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import log_softmax

from experiments.spec import MarginalPart
from jobs import own_parts
from jobs.engine.models.gaussian import log_standard_normal, positive, relative_log_normals
from jobs.own_parts import PartError


class DensityMarginal(nn.Module):
    """A marginal whose parameters alone give the density of z."""

    @abstractmethod
    def log_prob(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z) in nats, of shape (B,), with gradients to z and to the marginal."""

    def forward(self, z_BZ: Tensor) -> Tensor:
        """Return `log_prob`."""
        return self.log_prob(z_BZ)

    def log_prob_fixed(self, z_BZ: Tensor) -> Tensor:
        """Return log m(z) with gradients to z alone."""
        log_m_B: Tensor = functional_call(self, detached_state(self), (z_BZ,))
        return log_m_B


class MixtureMarginal(DensityMarginal):
    """m(z) = sum_i w_i N(z | m_i, I), or of a learned variance for each component and dimension if it is `diagonal`.

    The means start as draws of variance 1/Z, within a unit or so of one another in any dimension, so that all
    components share the first samples and come apart with the classes; started far apart, the nearest takes all.
    """

    def __init__(self, components: int, z_dim: int, *, diagonal: bool = False) -> None:
        super().__init__()
        self.means_MZ = nn.Parameter(torch.empty(components, z_dim))
        self.logits_M = nn.Parameter(torch.zeros(components))
        self.raw_scales_MZ = nn.Parameter(torch.zeros(components, z_dim)) if diagonal else None
        nn.init.normal_(self.means_MZ, std=z_dim**-0.5)

    def log_prob(self, z_BZ: Tensor) -> Tensor:
        scales_MZ = None if self.raw_scales_MZ is None else positive(self.raw_scales_MZ, 1.0)
        log_weights_M = log_softmax(self.logits_M, dim=0)
        relative_BM = relative_log_normals(z_BZ, self.means_MZ, scales_MZ) + log_weights_M
        return log_standard_normal(z_BZ) + relative_BM.logsumexp(dim=1)


class OwnMarginal(DensityMarginal):
    """A marginal of one's own: a function of z, or a module with parameters of its own."""

    def __init__(self, part: MarginalPart, z_dim: int, classes: int) -> None:
        super().__init__()
        self.part = part
        density = own_parts.load(part, "marginal")(z_dim, classes, **part.fields)
        if not callable(density):
            raise PartError(part, f"returns {type(density).__name__}; expected a function or module from z to log m(z)")
        self.density = density

    def log_prob(self, z_BZ: Tensor) -> Tensor:
        log_m_B = self.density(z_BZ)
        if not isinstance(log_m_B, Tensor) or log_m_B.shape != z_BZ.shape[:1]:
            shape = f"shape {tuple(log_m_B.shape)}" if isinstance(log_m_B, Tensor) else type(log_m_B).__name__
            wrong = f"what it makes returns {shape} for z of shape {tuple(z_BZ.shape)}"
            raise PartError(self.part, f"{wrong}; expected log m(z) of shape ({len(z_BZ)},)")
        return log_m_B


class VampMarginal(nn.Module):
    """m(z) = 1/M sum_i e(z|u_i) of learned images u (Tomczak & Welling, 2018, eq. 9): `CebModel` encodes them.

    The images are the sigmoid of its parameters, so that they stay in [0, 1].
    """

    def __init__(self, components: int, channels: int, size: int) -> None:
        super().__init__()
        self.raw_MCHW = nn.Parameter(torch.empty(components, channels, size, size))
        nn.init.normal_(self.raw_MCHW)

    def images(self) -> Tensor:
        """Return u, of shape (M, C, H, W)."""
        return self.raw_MCHW.sigmoid()


def detached_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers without gradients, by name."""
    return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}
