"""RMSprop as TensorFlow has it (tf.train.RMSPropOptimizer), which the public recipes of EfficientNet were tuned with:

    s = alpha s + (1 - alpha) g^2, from s = 1
    v = momentum v + lr g / sqrt(s + eps)
    w = w - v

torch's RMSprop begins with s = 0, adds eps outside the root, and multiplies v by the lr of the present step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class RmsPropTensorFlow(Optimizer):
    """Steps by TensorFlow's rule; `weight_decay` adds the gradient of 1/2 wd w^2."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        alpha: float,
        eps: float,
        momentum: float,
        weight_decay: float = 0.0,
        foreach: bool = True,
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"foreach": foreach})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients. `closure` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["square"] = torch.ones_like(parameter)
                    if group["momentum"]:
                        state["velocity"] = torch.zeros_like(parameter)
                gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
                square = state["square"].mul_(group["alpha"])
                square.addcmul_(gradient, gradient, value=1 - group["alpha"])
                change = gradient.mul_(group["lr"]).div_((square + group["eps"]).sqrt_())
                if group["momentum"]:
                    change = state["velocity"].mul_(group["momentum"]).add_(change)
                parameter.sub_(change)
