"""Weights that were trained elsewhere: a file that is read without running code in it, and loaded into a network."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.errors import InputError

NESTED = ("model", "state_dict", "model_state_dict", "model_state", "net")
"""The keys under which a checkpoint that holds more than weights may have them; ours has them under `model`."""
PREFIX = "module."
"""The prefix of every name in DataParallel, DistributedDataParallel and AveragedModel."""
_SAFETENSORS_HEADER = 8
"""The number of bytes that give the length of a safetensors file's header, which begins behind them with a brace."""
_AVERAGED = "n_averaged"
"""The counter of AveragedModel, beside the weights."""
_AVERAGE = re.compile(r"(^|_|\.)(ema|swa|shadow|averaged?)(_|\.|$)")
"""The names that checkpoints give to averages over training: weights of another model than the last step's."""
_DEPTH = 2
"""The number of dictionaries around a state_dict; deeper ones are an optimiser's."""
_COUNTER = "num_batches_tracked"
"""A counter of BatchNorm that is unused where a momentum is set, and missing in old files."""
_NAMED = 3
"""The number of names of a kind that an error lists."""

Weights = dict[str, Tensor]


def read(data: bytes, source: str | Path, key: str = "") -> Weights:
    """Return the tensors by name of a safetensors file, or of one that `torch.save` wrote: a state_dict, or a
    checkpoint that holds one.

    `key` selects it, as in `ema.state_dict` within a dictionary; by default it is the one that `NESTED` names. Raises
    InputError, naming the file as `source`, for anything else, for weights of one network that it holds in several
    versions, for tensors whose numbers can't be used as they are, and for a pickle with more in it than tensors and
    plain values, which could run code.
    """
    if data[_SAFETENSORS_HEADER : _SAFETENSORS_HEADER + 1] == b"{":
        content = _read_safetensors(data, source)
        weights = _select(content, key, source)
        _check_values(weights, source)
        return weights
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = str(error).startswith("Weights only load failed") and "GLOBAL" in str(error)
        wrong = "holds more than tensors, and opening it could run code" if unsafe else "is no file of torch.save"
        raise InputError(source, wrong, "allowed: what torch.save(model.state_dict(), FILE) writes") from None
    except Exception:  # a broken zip or pickle raises errors of many types
        raise InputError(source, "is no file of torch.save, or a truncated one") from None
    weights = _select(content, key, source)
    _check_values(weights, source)
    return weights


def _read_safetensors(data: bytes, source: str | Path) -> Weights:
    try:
        from safetensors.torch import load
    except ModuleNotFoundError:
        raise InputError(
            source, "is a safetensors file, and safetensors is not installed here", "pip install safetensors"
        ) from None
    try:
        weights: Weights = load(data)
    except Exception:  # its own error type, or a dtype that this torch does not have
        raise InputError(source, "is no safetensors file, or a truncated one") from None
    return weights


def _select(content: object, key: str, source: str | Path) -> Weights:
    """Return the state_dict of a checkpoint that the key names, or the only one there is of its network."""
    weights = {name: _plain(tensors) for name, tensors in _state_dicts(content)}
    if key:
        if key not in weights:
            allowed = ", ".join(filter(None, weights)) or "no --key, as it is one itself"
            raise InputError(f"--key {key}", f"{source} has no state_dict there", f"allowed: {allowed}")
        return weights[key]
    usual, inner = "", content
    for name in NESTED:
        if isinstance(inner, Mapping) and isinstance(inner.get(name), Mapping):
            usual, inner = f"{usual}.{name}".strip("."), inner[name]
    if usual not in weights:
        keys = [name for name in weights if name]
        allowed = f"allowed: one, or a dictionary with one under {', '.join(NESTED)}"
        hint = f"`--key {keys[0]}` takes what it has there" if len(keys) == 1 else f"--key {' or '.join(keys)}"
        raise InputError(source, "holds no state_dict" + " at the usual place" * bool(keys), hint if keys else allowed)
    averages = list(_averages(content)) if usual else []
    versions = [name for name, tensors in weights.items() if name in averages or _are_alike(tensors, weights[usual])]
    versions = list(dict.fromkeys([usual, *versions]))
    averages = [name for name in averages if name not in weights]
    if len(versions) > 1 or averages:
        text = f"holds the weights of one network more than once, under {', '.join([*versions, *averages])}"
        raise InputError(source, text, f"say which: {' or '.join(f'`--key {name}`' for name in versions)}")
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
        if _AVERAGE.search(str(name).lower()) and any(isinstance(value, Tensor) for value in values):
            yield inner
        else:
            yield from _averages(value, inner, depth + 1)


def _plain(tensors: Mapping[str, Tensor]) -> Weights:
    """Return the tensors under the names that the network itself gives them."""
    weights = {name: tensor for name, tensor in tensors.items() if name != _AVERAGED}
    if all(name.startswith(PREFIX) for name in weights):
        return {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    return dict(tensors)


def _are_alike(first: Weights, second: Weights) -> bool:
    """Return True if most tensors of the smaller one are in the other too, under their names and in their shapes."""
    common = sum(name in second and second[name].shape == tensor.shape for name, tensor in first.items())
    return 2 * common > min(len(first), len(second))


def _check_values(weights: Weights, source: str | Path) -> None:
    """Raise InputError, one line, for tensors whose values are missing or no finite floating-point numbers."""
    faults: dict[str, list[str]] = {}
    for name, tensor in weights.items():
        if fault := _fault(tensor):
            faults.setdefault(fault, []).append(name)
    if faults:
        text = "; ".join(_list_names(f"{fault}:", names) for fault, names in faults.items())
        raise InputError(source, text, "allowed: dense tensors of finite floating-point numbers of 16 bits or more")


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


def load_into(model: nn.Module, weights: Weights, source: str | Path) -> None:
    """Load the weights into the model. Raises InputError, one line, with the names, shapes and types that differ."""
    expected = model.state_dict()
    check_fits(expected, weights, source)
    model.load_state_dict({name: weights.get(name, tensor) for name, tensor in expected.items()})


def check_fits(expected: Mapping[str, Tensor], weights: Weights, source: str | Path) -> None:
    """Raise InputError if the weights do not fit a network's state_dict, whose values are not used."""
    missing = [name for name in expected if name not in weights and not name.endswith(_COUNTER)]
    unknown = [name for name in weights if name not in expected]
    shaped = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    typed = [
        name for name in expected
        if name in weights and weights[name].is_floating_point() != expected[name].is_floating_point()
    ]  # fmt: skip
    faults = [
        _list_names("it lacks", [f"{name} {_shape(expected[name])}" for name in missing]),
        _list_names("the network has no", [f"{name} {_shape(weights[name])}" for name in unknown]),
        _list_names("other shapes:", [f"{n} {_shape(weights[n])}, not {_shape(expected[n])}" for n in shaped]),
        _list_names("other types:", [f"{n} {_dtype(weights[n])}, not {_dtype(expected[n])}" for n in typed]),
    ]
    if any(faults):
        raise InputError(source, f"does not fit the network: {'; '.join(fault for fault in faults if fault)}")


def _list_names(label: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{label} {', '.join(names[:_NAMED])}{more}" if names else ""


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
