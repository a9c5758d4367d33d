"""Optimisers: Adam and SGD with Nesterov momentum, with weight decay as L2."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.optim import SGD, Adam, Optimizer

from experiments import spec
from jobs.engine.models import CebModel
from jobs.engine.models.marginal import MixtureMarginal

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)

Update = Literal["fused", "foreach", "for-loop"]
"""torch's implementation of a step: `experiments.resources.Execution`."""


def build(optimiser: spec.Adam | spec.Sgd, model: CebModel, update: Update = "fused") -> Optimizer:
    """Return the optimiser of every parameter but the marginal's.

    `weight_decay` adds the gradient of 1/2 wd w^2 (torch's own for both classes: not AdamW) to all but
    BatchNorm's parameters, class means and classifier included.
    """
    decayed, plain = _groups(model)
    groups = [
        {"params": decayed, "weight_decay": optimiser.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    match optimiser:
        case spec.Adam():
            return Adam(groups, lr=optimiser.lr, fused=update == "fused", foreach=update == "foreach")
        case spec.Sgd():
            momentum = optimiser.momentum
            return SGD(
                groups,
                lr=optimiser.lr,
                momentum=momentum,
                nesterov=momentum > 0,
                fused=update == "fused",
                foreach=update == "foreach",
            )


def build_marginal(lr: float, marginal: MixtureMarginal, update: Update = "fused") -> Optimizer:
    """Return the marginal's own optimiser: Adam without decay."""
    return Adam(marginal.parameters(), lr=lr, fused=update == "fused", foreach=update == "foreach")


def restore(optimiser: Optimizer, state: dict[str, Any]) -> None:
    """Load a state that was saved, but for the implementation of a step, which torch would take over from it."""
    groups = [
        saved | {flag: own[flag] for flag in ("fused", "foreach")}
        for saved, own in zip(state["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def _groups(model: CebModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that weight decay applies to, and those of BatchNorm."""
    marginal = set() if model.marginal is None else set(model.marginal.parameters())
    norms = (module for module in model.modules() if isinstance(module, _BATCH_NORM))
    plain = [parameter for norm in norms for parameter in norm.parameters()]
    excluded = marginal | set(plain)
    return [parameter for parameter in model.parameters() if parameter not in excluded], plain
