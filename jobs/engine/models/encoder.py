"""Encoders e(z|x) with a learned covariance, behind a network's features.

An encoding is one tensor of the distribution's parameters, (B, P): first the mean, then what the layer says of the
standard deviations. That of the unit covariance is the mean alone.

Shapes: B images, F features, Z dimensions of z, P parameters of a Gaussian.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from jobs.engine.models.gaussian import log_standard_normal, positive


class Encoder(nn.Module):
    """e(z|x) = N(mean, S S^T). The mean is a dense layer of the features, Glorot-uniform with a bias of zero; so is
    what S is made of, whose weights start at zero: every image begins with `initial_scale`."""

    def __init__(self, features: int, z_dim: int, scale_parameters: int, initial_scale: float) -> None:
        super().__init__()
        self.z_dim, self.initial_scale = z_dim, initial_scale
        self.mean = nn.Linear(features, z_dim)
        self.scale = nn.Linear(features, scale_parameters)
        nn.init.xavier_uniform_(self.mean.weight)
        for parameter in (self.mean.bias, *self.scale.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return the encodings, of shape (B, P)."""
        return torch.cat([self.mean(features_BF), self.scale(features_BF)], dim=1)

    def sample(self, encoding_BP: Tensor, noise_BZ: Tensor) -> Tensor:
        """Return mean + S eps, of shape (B, Z)."""
        return encoding_BP[:, : self.z_dim] + self.spread(encoding_BP, noise_BZ)

    def log_prob(self, z_BZ: Tensor, encoding_BP: Tensor) -> Tensor:
        """Return log e(z|x) in nats, of shape (B,), for z that `sample` drew from it: its gradient is that of -log |S|
        alone, since eps is drawn."""
        with torch.no_grad():
            standard_B = log_standard_normal(self.standardise(z_BZ, encoding_BP))
        return standard_B - self.log_scale(encoding_BP)

    def log_probs(self, z_BZ: Tensor, encoding_MP: Tensor) -> Tensor:
        """Return log e(z|x) of every z for each of M images, of shape (B, M), with all gradients."""
        return log_standard_normal(self.standardise(z_BZ[:, None], encoding_MP)) - self.log_scale(encoding_MP)

    def raw(self, encoding_BP: Tensor) -> Tensor:
        """Return the output of the layer that S is made of."""
        return encoding_BP[:, self.z_dim :]

    @abstractmethod
    def spread(self, encoding_BP: Tensor, noise_BZ: Tensor) -> Tensor:
        """Return S eps."""

    @abstractmethod
    def standardise(self, z_BZ: Tensor, encoding_BP: Tensor) -> Tensor:
        """Return eps of z, of shape (B, Z), or of z (B, 1, Z) under each of M encodings, of shape (B, M, Z)."""

    @abstractmethod
    def log_scale(self, encoding_BP: Tensor) -> Tensor:
        """Return log |S|, of shape (B,)."""


class DiagonalEncoder(Encoder):
    """S is diagonal: a standard deviation for each dimension (Kingma & Welling, 2014; Alemi et al., 2017)."""

    def __init__(self, features: int, z_dim: int, initial_scale: float) -> None:
        super().__init__(features, z_dim, z_dim, initial_scale)

    def scales(self, encoding_BP: Tensor) -> Tensor:
        """Return the standard deviations, of shape (B, Z)."""
        return positive(self.raw(encoding_BP), self.initial_scale)

    def spread(self, encoding_BP: Tensor, noise_BZ: Tensor) -> Tensor:
        return self.scales(encoding_BP) * noise_BZ

    def standardise(self, z_BZ: Tensor, encoding_BP: Tensor) -> Tensor:
        return (z_BZ - encoding_BP[:, : self.z_dim]) / self.scales(encoding_BP)

    def log_scale(self, encoding_BP: Tensor) -> Tensor:
        return self.scales(encoding_BP).log().sum(dim=1)


class FullEncoder(Encoder):
    """S is the Cholesky factor of the covariance: lower triangular with a positive diagonal."""

    def __init__(self, features: int, z_dim: int, initial_scale: float) -> None:
        super().__init__(features, z_dim, z_dim * (z_dim + 1) // 2, initial_scale)

    def factors(self, encoding_BP: Tensor) -> Tensor:
        """Return S, of shape (B, Z, Z): the layer's first Z outputs are its diagonal, the others its rows below."""
        raw_BP, z_dim = self.raw(encoding_BP), self.z_dim
        rows, columns = torch.tril_indices(z_dim, z_dim, offset=-1, device=raw_BP.device)
        factors_BZZ = torch.diag_embed(positive(raw_BP[:, :z_dim], self.initial_scale))
        return factors_BZZ.index_put((torch.arange(len(raw_BP), device=raw_BP.device)[:, None], rows, columns),
                                     raw_BP[:, z_dim:])  # fmt: skip

    def spread(self, encoding_BP: Tensor, noise_BZ: Tensor) -> Tensor:
        return (self.factors(encoding_BP) @ noise_BZ[..., None])[..., 0]

    def standardise(self, z_BZ: Tensor, encoding_BP: Tensor) -> Tensor:
        apart_BZ1 = (z_BZ - encoding_BP[:, : self.z_dim])[..., None]
        eps_BZ1: Tensor = torch.linalg.solve_triangular(self.factors(encoding_BP), apart_BZ1, upper=False)
        return eps_BZ1[..., 0]

    def log_scale(self, encoding_BP: Tensor) -> Tensor:
        return positive(self.raw(encoding_BP)[:, : self.z_dim], self.initial_scale).log().sum(dim=1)
