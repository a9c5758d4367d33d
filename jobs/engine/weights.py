"""Weights that were trained elsewhere: a file read without running anything in it, and fitted to a network."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.errors import InputError

NESTED = ("model", "state_dict", "model_state_dict")
"""Where a checkpoint that holds more than weights may have them; `model` is where ours has."""
PREFIX = "module."
"""What DataParallel and DistributedDataParallel put before every name."""
_COUNTER = "num_batches_tracked"
"""Of BatchNorm: it takes no part where a momentum is given, and old files lack it."""
_NAMED = 3
"""How many names of a kind an error lists."""

Weights = dict[str, Tensor]


def read(data: bytes, where: str | Path) -> Weights:
    """The tensors by name of a file that `torch.save` wrote: a state_dict, or a checkpoint that holds one.

    Raises InputError, naming the file as `where`, for anything else, and for a pickle with more in it than tensors and
    plain values, which could run code.
    """
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = str(error).startswith("Weights only load failed") and "GLOBAL" in str(error)
        wrong = "holds more than tensors, and opening it could run code" if unsafe else "is no file of torch.save"
        raise InputError(where, wrong, "allowed: what torch.save(model.state_dict(), FILE) writes") from None
    except Exception:  # whatever a zip or a pickle that is none makes of itself
        raise InputError(where, "is no file of torch.save, or a truncated one") from None
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found or not all(isinstance(one, Tensor) for one in found.values()):
        raise InputError(
            where, "holds no state_dict", f"allowed: one, or a dictionary with one under {', '.join(NESTED)}"
        )
    if all(name.startswith(PREFIX) for name in found):
        return {name.removeprefix(PREFIX): tensor for name, tensor in found.items()}
    return dict(found)


def fit(model: nn.Module, weights: Weights, where: str | Path) -> None:
    """Put the weights into the model. Raises InputError, one line, with the names and shapes that do not agree."""
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in weights and not name.endswith(_COUNTER)]
    unknown = [name for name in weights if name not in wanted]
    shaped = [name for name in wanted if name in weights and weights[name].shape != wanted[name].shape]
    faults = [
        _listed("it lacks", [f"{name} {_shape(wanted[name])}" for name in missing]),
        _listed("the network has no", [f"{name} {_shape(weights[name])}" for name in unknown]),
        _listed("other shapes:", [f"{n} {_shape(weights[n])}, not {_shape(wanted[n])}" for n in shaped]),
    ]
    if any(faults):
        raise InputError(where, f"does not fit the network: {'; '.join(fault for fault in faults if fault)}")
    model.load_state_dict({name: weights.get(name, tensor) for name, tensor in wanted.items()})


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what} {', '.join(names[:_NAMED])}{more}" if names else ""


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
