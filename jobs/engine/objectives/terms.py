"""The interface of an objective, and the terms it returns. Shapes: B samples, Z dimensions of z, K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from jobs.engine.models import CebModel


@dataclass(frozen=True)
class Terms:
    """One batch's loss and its parts: scalars in nats, means over the batch."""

    loss: Tensor
    """The quantity that is minimised."""
    conditional_entropy: Tensor
    """-log c(y|z), a sample of an upper bound of H(Y|Z)."""
    residual_information: Tensor | None = None
    """log e(z|x) - log b(z|y), of an upper bound of I(X;Z|Y); None without a backward encoder."""
    rate: Tensor | None = None
    """log e(z|x) - log m(z), of an upper bound of I(X;Z); None without a marginal."""
    marginal_loss: Tensor | None = None
    """-log m(z), with gradients to the marginal alone, if the loss needs it anyway; None: the caller computes it."""
    mean_logits_BK: Tensor | None = None
    """log c(y|f(x)) up to a constant, if the loss needs it anyway; None: the caller computes it."""

    def values(self) -> dict[str, Tensor]:
        """Return the values to report, by name, without gradients."""
        named = {
            "loss": self.loss,
            "conditional_entropy": self.conditional_entropy,
            "residual_information": self.residual_information,
            "rate": self.rate,
        }
        return {name: value.detach() for name, value in named.items() if value is not None}


LossFunction = Callable[[CebModel, Tensor, Tensor, Tensor, float], Terms]
"""(model, encoding_BP, z_BZ, y_B, gamma) -> Terms, for P parameters of e(z|x), the mean f(x) first."""


@dataclass(frozen=True)
class Objective:
    """A loss, the weight gamma of its bottleneck as a function of rho, and the inverse of that."""

    loss: LossFunction
    noisy: bool
    """True if z is drawn from e(z|x) in training; else z = f(x)."""
    gamma_of: Callable[[float], float]
    rho_of: Callable[[float], float]
