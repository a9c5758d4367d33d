"""How the numbers of a part are pinned: what is computed, written in few values, and how near it has to come again.

What is made of whole numbers is written exactly, as it is or as its digest. A float is compared within the tolerance of
its entry, because rounding differs between processors and versions of torch, and so are pixels behind float arithmetic;
a large array is written as five sums over all of it, three of them with weights, so that its order counts too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

FEW = 12
"""As many values are written as they are."""
EXACT, FLOAT64, FLOAT32, PIXELS = 0.0, 1e-6, 1e-4, 1e-3
"""Tolerances, relative to the root mean square of the values: of what is computed in float64 from weights that were
drawn in float32, of what is computed in float32, and of uint8 that may be one grey value off here and there."""
BF16 = 3e-2
"""Of what a network computes in bf16."""


@dataclass(frozen=True)
class Room:
    """What a computation may use."""

    folder: Path
    patch: pytest.MonkeyPatch


Computation = Callable[[Room], dict[str, Any]]


@dataclass(frozen=True)
class Pin:
    """The computation that pins a part."""

    compute: Computation
    tolerance: float
    needs: str
    """A package that it can't do without; empty for none."""
    withdrawn: Mapping[str, str]
    """Names on record that are not compared any more, because their numbers turned out to differ between processors;
    and how. What is on record stays there."""


PINS: dict[str, Pin] = {}


def pin(
    *parts: str, tolerance: float = FLOAT64, needs: str = "", withdrawn: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Computation], Computation]:
    """Register a computation, of numbers by name, for these parts."""

    def register(compute: Computation) -> Computation:
        for part in parts:
            assert part not in PINS, part
            PINS[part] = Pin(compute, tolerance, needs, withdrawn)
        return compute

    return register


def written(value: Any) -> Any:
    """Return a value as the golden file has it: JSON."""
    if isinstance(value, nn.Module):
        value = torch.cat([tensor.flatten().double() for tensor in value.state_dict().values()])
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy() if value.is_floating_point() else value.cpu().numpy()
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, dict):
        return {str(key): written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) and math.isfinite(value) else value


def _array(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind == "f":
        if array.size <= FEW:
            return [float(f"{value:.12g}") for value in array.ravel().tolist()]
        return {"shape": list(array.shape), "sums": _sums(array.astype(np.float64).ravel())}
    if array.size <= FEW:
        return array.ravel().tolist()
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return {"shape": list(array.shape), "sha256": hashlib.sha256(little_endian.tobytes()).hexdigest()[:16]}


def _sums(values_N: np.ndarray[Any, Any]) -> list[float]:
    """Return the mean, the root mean square, and three sums with weights of the same size as a mean of noise."""
    count = len(values_N)
    places_N = np.arange(1, count + 1)
    weighted = [float(values_N @ np.cos(places_N * turn)) / math.sqrt(count) for turn in (0.7, 1.9, 2.6)]
    sums = [float(values_N.mean()), float(np.sqrt((values_N**2).mean())), *weighted]
    return [float(f"{value:.12g}") for value in sums]


def close(pixels: Any) -> np.ndarray[Any, Any]:
    """Return uint8 as floats, for comparison within a tolerance."""
    array = pixels.cpu().numpy() if isinstance(pixels, torch.Tensor) else np.asarray(pixels)
    return array.astype(np.float64)


def moved(made: Pin, values: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    """Return where what a pin computed now differs from its entry. The tolerance on record may have been widened since,
    never narrowed."""
    recorded = {name: value for name, value in entry["values"].items() if name not in made.withdrawn}
    return list(differences(dict(values), recorded, max(made.tolerance, entry["tolerance"])))


def differences(now: Any, then: Any, tolerance: float, where: str = "") -> Iterable[str]:
    """Yield where two written values differ by more than the tolerance allows."""
    if isinstance(now, dict) and isinstance(then, dict) and now.keys() == then.keys():
        for name in now:
            yield from differences(now[name], then[name], tolerance, f"{where}.{name}".removeprefix("."))
        return
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        if all(isinstance(value, int | float) for value in (*now, *then)):
            scale = math.sqrt(sum(value * value for value in then) / max(1, len(then)))
            same = all(_near(ours, theirs, tolerance * scale) for ours, theirs in zip(now, then, strict=True))
            if not same:
                yield f"{where}: {now}, recorded {then}"
            return
        for index, pair in enumerate(zip(now, then, strict=True)):
            yield from differences(*pair, tolerance, f"{where}[{index}]")
        return
    near = isinstance(now, int | float) and isinstance(then, int | float) and _near(now, then, tolerance * abs(then))
    if not near and now != then:
        yield f"{where}: {now}, recorded {then}"


def _near(now: float, then: float, allowed: float) -> bool:
    if isinstance(now, int) and isinstance(then, int):
        return now == then
    return now == then or abs(now - then) <= max(allowed, 1e-12)
