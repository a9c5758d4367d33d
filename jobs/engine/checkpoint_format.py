"""The content of a checkpoint, written and read with torch on top of `jobs.checkpoint_files`.

Data order, noise and augmentation are functions of (seed, epoch, sample), so the step stands for all of them
and for every generator's state. Step, run and versions are part of the content, and so of the checksum in the file's
name: a file that was renamed to another step is told by what it holds. Checkpoints of earlier commits hold no step.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from msgspec import UNSET
from torch import Tensor

from experiments import numerics
from experiments.identity import run_id
from experiments.spec import Run
from jobs import checkpoint_files
from jobs.checkpoint_files import CheckpointFile
from jobs.engine.errors import ForeignCheckpointError, NoCheckpointError, in_one_line
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
    """`run_id`, `numerics`, `model`, and the `state` that was passed to `content`."""


class _BrokenError(Exception):
    """A file is not the checkpoint that its name says."""


def content(run: Run, model: CebModel, **state: Any) -> dict[str, Any]:
    """Return the content of a checkpoint, as a copy on the CPU: the model (marginal included) and `state`, which must
    be made of tensors and plain values and hold `steps_done`."""
    # Not `step`, which optimisers have in their states: pickled again after a load, a key that two dicts share gives
    # other bytes, and so another digest of the same content.
    labels = {"run_id": run_id(run), "numerics": numerics.training_versions(run)}
    copied: dict[str, Any] = _copy_to_cpu({**labels, "model": dict(model.state_dict()), **state})
    return copied


def write(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write the checkpoint of a step. Only the newest two are kept."""
    return checkpoint_files.write(folder, step, lambda file: torch.save(content, file))


def load_newest(
    run: Run, folder: Path, *, set_aside: bool = False, keys: Collection[str] = ("model",)
) -> LoadedCheckpoint | None:
    """Return the newest intact checkpoint that holds these keys, on the CPU, or None. Broken ones are logged and passed
    over.

    `set_aside` renames them, so that they don't count among those kept: for the one process that writes here.
    Raises ForeignCheckpointError if it belongs to another run, UnreachableError if it can't be read.
    """
    for path in checkpoint_files.strays(folder):
        _log.warning("%s: not named like a checkpoint, passed over", path)
    for file in checkpoint_files.newest_first(folder):
        try:
            state = _load(file, keys)
        except _BrokenError as error:
            _log.warning("%s: broken (%s), falling back to the checkpoint before it", file.path, error)
            if set_aside:
                file.set_aside()
            continue
        if state["run_id"] != run_id(run):
            raise ForeignCheckpointError(file.path, f"run {state['run_id']}", run_id(run))
        return LoadedCheckpoint(file.step, file.path, state)
    return None


def _load(file: CheckpointFile, keys: Collection[str]) -> dict[str, Any]:
    """Return the content of a file. Raises _BrokenError if it is not the checkpoint that its name says."""
    data = file.read()
    if data is None:
        raise _BrokenError("it does not have the checksum in its name")
    try:
        # weights_only, because a pickle could run code and the folder may be shared.
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises whatever a damaged pickle leads to
        if "allocate memory" in str(error):  # torch's RuntimeError of a machine that is too small
            raise
        raise _BrokenError(in_one_line(error)) from error
    if not isinstance(state, dict) or (absent := {"run_id", *keys} - state.keys()):
        raise _BrokenError(
            f"it holds no {', '.join(sorted(absent))}" if isinstance(state, dict) else "it holds no state"
        )
    if (step := state.get("steps_done", file.step)) != file.step:
        raise _BrokenError(f"it is of step {step}, not of the one in its name")
    return state


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
