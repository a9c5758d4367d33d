"""Objectives of one's own: a function of (model, f_BZ, z_BZ, y_B, gamma) and its fields that returns a loss.

It may return the loss alone, a scalar, or a mapping of the names of `Terms` to scalars with `loss` among them. What it
leaves out is measured as for `ceb`, without a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.spec import ObjectivePart
from jobs import own_parts
from jobs.engine.models import CebModel
from jobs.engine.objectives.ceb import gamma_of, rho_of
from jobs.engine.objectives.terms import Objective, Terms
from jobs.own_parts import PartError

_NAMES = tuple(field.name for field in fields(Terms))


@cache
def own_objective(part: ObjectivePart) -> Objective:
    """Return the objective of a part: gamma is e^-rho, z is sampled. Raises PartError if it can't be imported."""
    function = own_parts.load(part, "objective")

    def loss(model: CebModel, f_BZ: Tensor, z_BZ: Tensor, y_B: Tensor, gamma: float) -> Terms:
        terms = _named(part, function(model, f_BZ, z_BZ, y_B, gamma, **part.fields))
        log_marginal_B = model.log_marginal_alone(z_BZ)
        with torch.no_grad():
            log_encoder_B = model.log_encoder(z_BZ, f_BZ)
            measured = {
                "conditional_entropy": cross_entropy(model.logits(z_BZ), y_B),
                "residual_information": (log_encoder_B - model.log_backward_encoder(z_BZ, y_B)).mean(),
                "rate": (log_encoder_B - log_marginal_B).mean(),
            }
        return Terms(**{**measured, "marginal_loss": -log_marginal_B.mean(), **terms})

    return Objective(loss, noisy=True, gamma_of=gamma_of, rho_of=rho_of)


def _named(part: ObjectivePart, value: Any) -> dict[str, Tensor]:
    """Return the terms that an objective returned by their names. Raises PartError if they are none."""
    if isinstance(value, Terms):
        return {name: term for name in _NAMES if (term := getattr(value, name)) is not None}
    named = dict(value) if isinstance(value, Mapping) else {"loss": value}
    for name, term in named.items():
        if name not in _NAMES:
            raise PartError(part, f"returns {name!r}; expected a loss, or a mapping of {', '.join(_NAMES)}")
        if not isinstance(term, Tensor) or (term.dim() and name != "mean_logits_BK"):
            shape = f"a tensor of shape {tuple(term.shape)}" if isinstance(term, Tensor) else type(term).__name__
            raise PartError(part, f"returns {shape} as {name}; expected a scalar, the mean over the batch")
    if "loss" not in named:
        raise PartError(part, f"returns {', '.join(named)} without `loss`")
    if not named["loss"].requires_grad:
        raise PartError(part, "returns a loss without a gradient to the model")
    return named
