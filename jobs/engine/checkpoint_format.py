"""The content of a checkpoint, written and read with torch on top of `jobs.checkpoint_files`.

Data order, noise and augmentation are functions of (seed, epoch, sample), so the step stands for all of them
and for every generator's state.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from msgspec import UNSET
from torch import Tensor

from experiments.identity import run_id
from experiments.spec import Run
from jobs import checkpoint_files
from jobs.engine.errors import ForeignCheckpointError, NoCheckpointError
from jobs.engine.models import CebModel, build

AVERAGE = "ema"
"""The key of the average of the weights, in checkpoints of runs that keep one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The content of an intact checkpoint."""

    step: int
    """Optimiser steps done."""
    file: Path
    state: dict[str, Any]
    """`run_id`, `model`, and the `state` that was passed to `content`."""


def content(run: Run, model: CebModel, **state: Any) -> dict[str, Any]:
    """Return the content of a checkpoint, as a copy on the CPU: the model (marginal included) and `state`, which must
    be made of tensors and plain values."""
    copied: dict[str, Any] = _copy_to_cpu({"run_id": run_id(run), "model": dict(model.state_dict()), **state})
    return copied


def write(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write the checkpoint of a step. Only the newest two are kept."""
    return checkpoint_files.write(folder, step, lambda file: torch.save(content, file))


def load_newest(run: Run, folder: Path, *, set_aside: bool = False) -> LoadedCheckpoint | None:
    """Return the newest intact checkpoint, on the CPU, or None. Broken ones are logged and passed over.

    `set_aside` renames them, so that they don't count among those kept: for the one process that writes here.
    Raises ForeignCheckpointError if it belongs to another run.
    """
    for file in checkpoint_files.newest_first(folder):
        data = file.read()
        if data is None:
            _log.warning("%s: broken, falling back to the checkpoint before it", file.path)
            if set_aside:
                file.set_aside()
            continue
        # weights_only, because a pickle could run code and the folder may be shared.
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if state["run_id"] != run_id(run):
            raise ForeignCheckpointError(file.path, f"run {state['run_id']}", run_id(run))
        return LoadedCheckpoint(file.step, file.path, state)
    return None


def _copy_to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy_to_cpu(item) for item in value)
    return value


class TrainedModel(NamedTuple):
    """A model in eval mode, and the checkpoint it was read from."""

    model: CebModel
    step: int
    """Optimiser steps it was trained for."""
    file: Path


def load_model(run: Run, folder: Path) -> TrainedModel:
    """Return the trained model of a run from its newest intact checkpoint, on the CPU: with the average of its weights
    if it keeps one and says that it is to be judged.

    Raises NoCheckpointError if there is none, ForeignCheckpointError if it is another run's or network's.
    """
    loaded = load_newest(run, folder)
    if loaded is None:
        raise NoCheckpointError(folder)
    model = build(run)
    try:
        averaged = run.ema_decay and run.ema_judged is UNSET
        model.load_state_dict(loaded.state[AVERAGE]["tensors"] if averaged else loaded.state["model"])
    except RuntimeError:  # its message has a line for each tensor
        raise ForeignCheckpointError(loaded.file, "another network", f"the one of run {run_id(run)}") from None
    return TrainedModel(model.eval(), loaded.step, loaded.file)
