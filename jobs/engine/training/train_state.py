"""Everything that changes while a run trains, and so everything that a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments import datasets, spec
from experiments.resources import Execution
from experiments.spec import Run
from jobs.engine import checkpoint_format
from jobs.engine.checkpoint_format import LoadedCheckpoint
from jobs.engine.distributed import Group
from jobs.engine.errors import DivergedError
from jobs.engine.execution import check_supported, compile_network
from jobs.engine.metrics import Meter
from jobs.engine.models import CebModel, build
from jobs.engine.models.classifiers import ConsistentClassifier
from jobs.engine.training import optimisers, stochastic_layers
from jobs.engine.training.loss_module import LossModule
from jobs.engine.training.sync_batch_norm import synchronise
from jobs.engine.training.weight_average import WeightAverage

DEFAULT = Execution()
RESTORED = ("model", "optimiser", "marginal_optimiser", "passed_step", "epoch")
"""The keys of a checkpoint that training goes on from."""


@dataclass
class TrainState:
    """A run after `step` optimiser steps."""

    run: Run
    model: CebModel
    replica: nn.Module
    """The model's `LossModule`, whose gradients are those over all processes."""
    group: Group
    optimiser: Optimizer
    marginal_optimiser: Optimizer | None
    base_lr: float
    """The learning rate that the schedule multiplies."""
    average: WeightAverage | None = None
    step: int = 0
    passed_step: int | None = None
    """The step at which the training accuracy passed the gate of a gated jump-start."""
    epoch: Meter = field(default_factory=Meter)
    """The sums over the epoch that is under way."""
    last_checkpoint: Path | None = None
    """The newest checkpoint."""

    def content(self) -> dict[str, Any]:
        """Return the content of its checkpoint, as a copy that later steps do not change. Raises DivergedError if a
        weight is no finite number."""
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                kind = "nan" if parameter.isnan().any() else "exploded"
                raise DivergedError(kind, f"the weight {name}", math.inf, self.step, self.last_checkpoint)
        marginal = self.marginal_optimiser
        return checkpoint_format.content(
            self.run,
            self.model,
            steps_done=self.step,
            optimiser=self.optimiser.state_dict(),
            marginal_optimiser=marginal.state_dict() if marginal else None,
            passed_step=self.passed_step,
            epoch=asdict(self.epoch),
            **({checkpoint_format.AVERAGE: self.average.content()} if self.average else {}),
        )


def initial_state(
    run: Run, labels_N: Tensor, device: str, group: Group | None = None, execution: Execution = DEFAULT
) -> TrainState:
    """Return the state before the first step, for training images with these labels; by default of a single process.

    Raises InputError if this machine does not support the `execution`.
    """
    check_supported(execution, device)
    if execution.compile != "off":
        stochastic_layers.check_compilable(run)
    group = group or Group()
    model = build(run)
    if isinstance(model.classifier, ConsistentClassifier):
        model.classifier.set_label_counts(torch.bincount(labels_N, minlength=datasets.info(run.data.name).classes))
    model.to(device).train()
    if run.batch_norm and group.size > 1:
        synchronise(model, device)
    compile_network(model, execution)
    marginal_optimiser = None
    # One of one's own may have nothing to learn.
    if model.marginal is not None and any(True for _ in model.marginal.parameters()):
        assert not isinstance(run.objective, spec.Xent)
        marginal_optimiser = optimisers.build_marginal(run.objective.marginal.lr, model.marginal, execution.update)
    replica = group.replicate(LossModule(run, model, execution))
    optimiser = optimisers.build(run.optimiser, model, execution.update, only_kernels=run.decayed == "kernels")
    base_lr = optimiser.param_groups[0]["lr"] if isinstance(run.optimiser, spec.Part) else run.optimiser.lr
    average = WeightAverage(run, model) if run.ema_decay else None
    return TrainState(run, model, replica, group, optimiser, marginal_optimiser, base_lr, average)


def restore(state: TrainState, loaded: LoadedCheckpoint) -> None:
    """Load a checkpoint into a fresh state."""
    state.model.load_state_dict(loaded.state["model"])
    optimisers.restore(state.optimiser, loaded.state["optimiser"])
    if state.marginal_optimiser is not None:
        optimisers.restore(state.marginal_optimiser, loaded.state["marginal_optimiser"])
    if state.average is not None:
        state.average.restore(loaded.state[checkpoint_format.AVERAGE])
    state.step, state.last_checkpoint = loaded.step, loaded.file
    state.passed_step = loaded.state["passed_step"]
    state.epoch = Meter(**loaded.state["epoch"])
