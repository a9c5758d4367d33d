"""The exponential moving average of a model's weights: `experiments.spec.Run.ema_decay`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from experiments.spec import Run


class WeightAverage:
    """An average of each floating-point tensor of a model's state_dict, BatchNorm's statistics included; whole numbers
    are the last step's. Every process of a group has its own, all equal, since their weights are."""

    def __init__(self, run: Run, model: nn.Module) -> None:
        self._decay, self._from_start = float(run.ema_decay or 0.0), run.ema_form == "tensorflow"
        self._every = run.ema_every or 1
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Begin anew with the model's present weights."""
        self.updates = 0
        self.tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights behind the optimiser step `step` (from 1 on), if an update is due."""
        if step % self._every:
            return
        self.updates += 1
        decay = self._decay
        if self._from_start:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        elif self.updates == 1:
            decay = 0.0
        pairs = [(self.tensors[name], tensor) for name, tensor in self._model.state_dict().items()]
        averages, tensors = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        get_ema_multi_avg_fn(decay)(averages, tensors, self.updates)  # type: ignore[no-untyped-call]
        for average, tensor in pairs:
            if not average.is_floating_point():
                average.copy_(tensor)

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"tensors": self.tensors, "updates": self.updates}

    def restore(self, content: dict[str, Any]) -> None:
        """Load what a checkpoint held."""
        self.updates = content["updates"]
        for name, tensor in content["tensors"].items():
            self.tensors[name].copy_(tensor)
