"""Weights that were trained elsewhere: a file read without running anything in it, and fitted to a network."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.errors import InputError

NESTED = ("model", "state_dict", "model_state_dict")
"""Where a checkpoint that holds more than weights may have them; `model` is where ours has."""
PREFIX = "module."
"""What DataParallel, DistributedDataParallel and AveragedModel put before every name."""
_AVERAGED = "n_averaged"
"""What AveragedModel counts, beside the weights."""
_AVERAGE = re.compile(r"(^|_|\.)(ema|swa|shadow|averaged?)(_|\.|$)")
"""How checkpoints call what they hold of an average over training, weights of another model than the last step's."""
_DEPTH = 2
"""How many dictionaries lie around a state_dict; further in are an optimiser's."""
_COUNTER = "num_batches_tracked"
"""Of BatchNorm: it takes no part where a momentum is given, and old files lack it."""
_NAMED = 3
"""How many names of a kind an error lists."""

Weights = dict[str, Tensor]


def read(data: bytes, where: str | Path, key: str = "") -> Weights:
    """Return the tensors by name of a file that `torch.save` wrote: a state_dict, or a checkpoint that holds one.

    `key` says under which key it is to be taken, `ema.state_dict` within a dictionary; without, it is the one that
    `NESTED` names. Raises InputError, naming the file as `where`, for anything else, for weights of one network that
    it holds in several versions, for tensors whose numbers can't be used as they are, and for a pickle with more in it
    than tensors and plain values, which could run code.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = str(error).startswith("Weights only load failed") and "GLOBAL" in str(error)
        wrong = "holds more than tensors, and opening it could run code" if unsafe else "is no file of torch.save"
        raise InputError(where, wrong, "allowed: what torch.save(model.state_dict(), FILE) writes") from None
    except Exception:  # whatever a zip or a pickle that is none makes of itself
        raise InputError(where, "is no file of torch.save, or a truncated one") from None
    weights = _chosen(content, key, where)
    _check_values(weights, where)
    return weights


def _chosen(content: object, key: str, where: str | Path) -> Weights:
    """Return the state_dict of a checkpoint that the key names, or the only one there is of its network."""
    weights = {name: _plain(tensors) for name, tensors in _state_dicts(content)}
    if key:
        if key not in weights:
            allowed = ", ".join(filter(None, weights)) or "no --key, as it is one itself"
            raise InputError(f"--key {key}", f"{where} has no state_dict there", f"allowed: {allowed}")
        return weights[key]
    usual, inner = "", content
    for name in NESTED:
        if isinstance(inner, Mapping) and isinstance(inner.get(name), Mapping):
            usual, inner = f"{usual}.{name}".strip("."), inner[name]
    if usual not in weights:
        others = [name for name in weights if name]
        allowed = f"allowed: one, or a dictionary with one under {', '.join(NESTED)}"
        hint = f"`--key {others[0]}` takes what it has there" if len(others) == 1 else f"--key {' or '.join(others)}"
        raise InputError(
            where, "holds no state_dict" + " at the usual place" * bool(others), hint if others else allowed
        )
    averages = list(_averages(content)) if usual else []
    versions = [name for name, tensors in weights.items() if name in averages or _are_alike(tensors, weights[usual])]
    versions = list(dict.fromkeys([usual, *versions]))
    averages = [name for name in averages if name not in weights]
    if len(versions) > 1 or averages:
        text = f"holds the weights of one network more than once, under {', '.join([*versions, *averages])}"
        raise InputError(where, text, f"say which: {' or '.join(f'`--key {name}`' for name in versions)}")
    return weights[usual]


def _state_dicts(content: object, key: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield the state_dicts in a checkpoint with the keys that lead there."""
    if not isinstance(content, Mapping) or not content:
        return
    if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
        yield key, content
    elif depth < _DEPTH:
        for name, value in content.items():
            yield from _state_dicts(value, f"{key}.{name}".strip("."), depth + 1)


def _averages(content: object, key: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the keys under which a checkpoint has tensors that it calls an average."""
    for name, value in content.items() if isinstance(content, Mapping) and depth < _DEPTH else ():
        inner = f"{key}.{name}".strip(".")
        values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        if _AVERAGE.search(str(name).lower()) and any(isinstance(one, Tensor) for one in values):
            yield inner
        else:
            yield from _averages(value, inner, depth + 1)


def _plain(tensors: Mapping[str, Tensor]) -> Weights:
    """Return the tensors under the names that the network itself gives them."""
    weights = {name: tensor for name, tensor in tensors.items() if name != _AVERAGED}
    if all(name.startswith(PREFIX) for name in weights):
        return {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    return dict(tensors)


def _are_alike(some: Weights, others: Weights) -> bool:
    """Whether most of the smaller one's tensors are in the other too, under their names and in their shapes."""
    common = sum(name in others and others[name].shape == tensor.shape for name, tensor in some.items())
    return 2 * common > min(len(some), len(others))


def _check_values(weights: Weights, where: str | Path) -> None:
    """Raise InputError, one line, for tensors whose values are no floating-point numbers, or are not there."""
    faults: dict[str, list[str]] = {}
    for name, tensor in weights.items():
        if fault := _fault(tensor):
            faults.setdefault(fault, []).append(name)
    if faults:
        text = "; ".join(_listed(f"{fault}:", names) for fault, names in faults.items())
        raise InputError(where, text, "allowed: dense tensors of finite floating-point numbers of 16 bits or more")


def _fault(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "holds no values (meta tensors)"
    if tensor.layout != torch.strided:
        return "holds sparse tensors"
    if tensor.is_quantized or (tensor.dtype.itemsize == 1 and tensor.dtype != torch.bool):
        return f"holds quantised tensors ({_dtype(tensor)})"
    if tensor.is_complex():
        return f"holds complex tensors ({_dtype(tensor)})"
    return "" if tensor.isfinite().all() else "holds NaN or infinity"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def encode(weights: Weights) -> bytes:
    """Return a file of these weights alone."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def fit(model: nn.Module, weights: Weights, where: str | Path) -> None:
    """Put the weights into the model. Raises InputError, one line, with the names, shapes and types that do not
    agree."""
    wanted = model.state_dict()
    check(wanted, weights, where)
    model.load_state_dict({name: weights.get(name, tensor) for name, tensor in wanted.items()})


def check(wanted: Mapping[str, Tensor], weights: Weights, where: str | Path) -> None:
    """Raise InputError if the weights are not those that a network's state_dict wants; its values are not looked at."""
    missing = [name for name in wanted if name not in weights and not name.endswith(_COUNTER)]
    unknown = [name for name in weights if name not in wanted]
    shaped = [name for name in wanted if name in weights and weights[name].shape != wanted[name].shape]
    typed = [
        name for name in wanted
        if name in weights and weights[name].is_floating_point() != wanted[name].is_floating_point()
    ]  # fmt: skip
    faults = [
        _listed("it lacks", [f"{name} {_shape(wanted[name])}" for name in missing]),
        _listed("the network has no", [f"{name} {_shape(weights[name])}" for name in unknown]),
        _listed("other shapes:", [f"{n} {_shape(weights[n])}, not {_shape(wanted[n])}" for n in shaped]),
        _listed("other types:", [f"{n} {_dtype(weights[n])}, not {_dtype(wanted[n])}" for n in typed]),
    ]
    if any(faults):
        raise InputError(where, f"does not fit the network: {'; '.join(fault for fault in faults if fault)}")


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what} {', '.join(names[:_NAMED])}{more}" if names else ""


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
