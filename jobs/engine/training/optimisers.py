"""Optimisers: those of torch, and RMSprop as TensorFlow has it, with weight decay on all but BatchNorm."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import msgspec
import torch
from msgspec import UNSET
from torch import nn
from torch.optim import Optimizer

from experiments import spec
from jobs import own_parts
from jobs.engine.models import CebModel
from jobs.engine.training.rmsprop_tensorflow import RmsPropTensorFlow
from jobs.own_parts import PartError

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)

Update = Literal["fused", "foreach", "for-loop"]
"""torch's implementation of a step: `experiments.resources.Execution`."""

_CLASSES: dict[type[spec.Section], type[Optimizer]] = {
    spec.Adam: torch.optim.Adam,
    spec.AdamW: torch.optim.AdamW,
    spec.Adamax: torch.optim.Adamax,
    spec.NAdam: torch.optim.NAdam,
    spec.RAdam: torch.optim.RAdam,
    spec.Sgd: torch.optim.SGD,
    spec.RmsProp: torch.optim.RMSprop,
    spec.Adagrad: torch.optim.Adagrad,
    spec.Adadelta: torch.optim.Adadelta,
}
_ARGUMENTS = {
    "decoupled": "decoupled_weight_decay",
    "epsilon": "eps",
    "initial_square": "initial_accumulator_value",
}
"""torch's names of fields, where they are others."""


def build(
    optimiser: spec.Optimiser | spec.Part, model: CebModel, update: Update = "fused", *, only_kernels: bool = False
) -> Optimizer:
    """Return the optimiser of every parameter but the marginal's.

    `weight_decay` is the optimiser's own (the gradient of 1/2 wd w^2, or decoupled), on all but BatchNorm's parameters,
    class means and classifier included; with `only_kernels` on those of two dimensions or more.
    """
    decayed, plain = _groups(model)
    if only_kernels:
        decayed, plain = [p for p in decayed if p.dim() > 1], [*plain, *(p for p in decayed if p.dim() < 2)]
    if isinstance(optimiser, spec.Part):
        return _own(optimiser, [{"params": decayed}, {"params": plain, "weight_decay": 0.0}])
    groups = [
        {"params": decayed, "weight_decay": optimiser.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    made, arguments = _class_and_arguments(optimiser)
    return made(groups, **arguments, **_implementation(made, update))  # type: ignore[arg-type]


def _own(part: spec.Part, groups: list[dict[str, Any]]) -> Optimizer:
    """Return an optimiser of one's own. Each group keeps its share of the first one's learning rate. Raises PartError
    for what is none."""
    optimiser = own_parts.load(part, "optimiser")([group for group in groups if group["params"]], **part.fields)
    if not isinstance(optimiser, Optimizer):
        raise PartError(part, f"returns {type(optimiser).__name__}; expected a torch.optim.Optimizer")
    for group in optimiser.param_groups:
        if not isinstance(group.get("lr"), int | float):
            raise PartError(part, f"has a learning rate of {group.get('lr')!r}; expected a number")
        group["lr_share"] = group["lr"] / optimiser.param_groups[0]["lr"] if group["lr"] else 0.0
    return optimiser


def _class_and_arguments(optimiser: spec.Optimiser) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return the class of an optimiser and its arguments, without those whose default applies."""
    made = _CLASSES[type(optimiser)]
    fields = {name: value for name, value in msgspec.structs.asdict(optimiser).items() if value is not UNSET}
    del fields["weight_decay"]
    arguments = {_ARGUMENTS.get(name, name): value for name, value in fields.items()}
    if isinstance(optimiser, spec.Adam):
        betas = (arguments.pop("beta1", 0.9), arguments.pop("beta2", 0.999))
        arguments["betas"] = betas
    if isinstance(optimiser, spec.Sgd):
        arguments["nesterov"] = optimiser.momentum > 0 and optimiser.nesterov is UNSET
    if isinstance(optimiser, spec.RmsProp):
        made = RmsPropTensorFlow if arguments.pop("form", None) else made
        arguments["alpha"] = arguments.pop("square_decay")
    if isinstance(optimiser, spec.Adadelta):
        arguments["rho"] = arguments.pop("square_decay")
    return made, arguments


def _implementation(made: type[Optimizer], update: Update) -> dict[str, bool]:
    """Return the arguments that choose the implementation of a step: `foreach` for a class without fused kernels."""
    parameters = inspect.signature(made).parameters
    if "fused" in parameters:
        return {"fused": update == "fused", "foreach": update == "foreach"}
    return {"foreach": update != "for-loop"} if "foreach" in parameters else {}


def build_marginal(lr: float, marginal: nn.Module, update: Update = "fused") -> Optimizer:
    """Return the marginal's own optimiser: Adam without decay."""
    return torch.optim.Adam(marginal.parameters(), lr=lr, fused=update == "fused", foreach=update == "foreach")


def restore(optimiser: Optimizer, state: dict[str, Any]) -> None:
    """Load a state that was saved, but for the implementation of a step, which torch would take over from it."""
    groups = [
        saved | {flag: own[flag] for flag in ("fused", "foreach") if flag in own}
        for saved, own in zip(state["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})


def set_lr(optimiser: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, of the first group where they differ."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_share", 1.0)


def clip_norm(optimiser: Optimizer, norm: float) -> None:
    """Scale the gradients of an optimiser's parameters down so that their norm over all of them is at most `norm`."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(parameters, norm)


def _groups(model: CebModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that weight decay applies to, and those of BatchNorm."""
    marginal = set() if model.marginal is None else set(model.marginal.parameters())
    norms = (module for module in model.modules() if isinstance(module, _BATCH_NORM))
    plain = [parameter for norm in norms for parameter in norm.parameters()]
    excluded = marginal | set(plain)
    return [parameter for parameter in model.parameters() if parameter not in excluded], plain
