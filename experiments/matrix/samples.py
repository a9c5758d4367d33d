"""Read the `sample` of a grid: axes whose values are drawn together, at random or quasi-random.

sample:
  trials: 16
  sampler: sobol                        # or random
  seed: 0
  fields:
    lr: {log: [1e-4, 1e-1]}             # uniform in its logarithm
    rho: {from: 0, to: 5}               # uniform
    width: {from: 1, to: 4, by: 1}      # one of these, as in an axis
    batch: [128, 256]                   # one of these

The values are a function of the sampler, the seed and the trial's number: with more trials, the earlier ones stay.
Random search finds more than a grid of as many runs (Bergstra and Bengio 2012); a Sobol sequence leaves fewer gaps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, expected
from experiments.matrix import yaml_nodes
from experiments.matrix.axis_values import MAX_RUNS, range_values
from experiments.matrix.yaml_nodes import fault_at

SAMPLERS = ("sobol", "random")
_WORDS = ("trials", "sampler", "seed", "fields")
_DIGITS = 4
"""Significant digits of a drawn number, so that names of runs can be read."""

Draw = Callable[[float], Node]
"""Turns a number in [0, 1) into the node of a value."""


def read(node: Node, faults: list[Fault]) -> list[tuple[Node, SequenceNode]]:
    """Return the keys of the fields, each with the values of all trials as a sequence; add the faults to `faults`."""
    if not isinstance(node, MappingNode):
        faults.append(fault_at(node, "sample: expected a mapping with trials and fields"))
        return []
    before = len(faults)
    settings = {str(key.value): value for key, value in node.value}
    for key, _ in node.value:
        if key.value not in _WORDS:
            faults.append(fault_at(key, f"sample: unknown {key.value!r}; {expected(_WORDS, str(key.value))}"))
    if missing := [word for word in ("trials", "fields") if word not in settings]:
        faults.append(fault_at(node, f"sample: {' and '.join(missing)} must be set"))
        return []
    trials = _integer(settings["trials"], "trials", 1, faults)
    seed = _integer(settings["seed"], "seed", 0, faults) if "seed" in settings else 0
    sampler = str(yaml_nodes.plain(settings["sampler"])) if "sampler" in settings else SAMPLERS[0]
    if sampler not in SAMPLERS:
        faults.append(fault_at(settings["sampler"], f"sampler: {sampler!r}; {expected(SAMPLERS, sampler)}"))
    fields = settings["fields"]
    if not isinstance(fields, MappingNode) or not fields.value:
        faults.append(fault_at(fields, "fields: expected a mapping of fields to where their values are drawn from"))
        return []
    draws = [_draw(str(key.value), value, faults) for key, value in fields.value]
    if len(faults) > before:
        return []
    names = [str(key.value) for key, _ in fields.value]
    columns = uniform_numbers(sampler, seed, names, trials)
    return [
        (key, SequenceNode(yaml_nodes.SEQUENCE, [draw(u) for u in column], value.start_mark, value.end_mark))
        for (key, value), draw, column in zip(fields.value, draws, columns, strict=True)
    ]


def uniform_numbers(sampler: str, seed: int, names: Sequence[str], trials: int) -> list[list[float]]:
    """Return numbers in [0, 1) for each name and trial.

    `sobol` is the sequence without scrambling, which depends on no version of a library, shifted by the seed modulo 1
    (Cranley and Patterson 1976).
    """
    if sampler == "random":
        return [[_hashed(seed, name, trial) for trial in range(trials)] for name in names]
    from scipy.stats import qmc

    points = qmc.Sobol(len(names), scramble=False).random_base2(max(trials - 1, 0).bit_length())[:trials]
    return [
        [(float(u) + shift) % 1.0 for u in points[:, dimension]]
        for dimension, shift in enumerate(_hashed(seed, name, -1) for name in names)
    ]


def _hashed(seed: int, name: str, trial: int) -> float:
    """Return a number in [0, 1) of 53 bits."""
    digest = hashlib.sha256(f"{seed}\0{name}\0{trial}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _integer(node: Node, name: str, least: int, faults: list[Fault]) -> int:
    value = yaml_nodes.plain(node)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_RUNS:
        faults.append(fault_at(node, f"{name}: expected a whole number from {least} to {MAX_RUNS:,}, got {value!r}"))
        return least
    return value


def _draw(name: str, node: Node, faults: list[Fault]) -> Draw:
    """Return the way in which a field's values are drawn, or one that serves until `faults` are shown."""
    if isinstance(node, SequenceNode) and node.value:
        return _one_of(node.value)
    if isinstance(node, MappingNode):
        keys = {key.value: value for key, value in node.value}
        if keys.keys() == {"from", "to", "by"}:
            return _one_of(list(range_values(node, name, faults)) or [node])
        bounds = keys.get("log") if keys.keys() == {"log"} else None
        if keys.keys() == {"from", "to"}:
            return _between(name, node, [keys["from"], keys["to"]], faults, logarithmic=False)
        if isinstance(bounds, SequenceNode) and len(bounds.value) == 2:
            return _between(name, node, bounds.value, faults, logarithmic=True)
    allowed = "{from: 0, to: 5}, {from: 1, to: 4, by: 1}, {log: [1e-4, 1e-1]} or a list"
    faults.append(fault_at(node, f"{name}: expected {allowed}"))
    return lambda _: node


def _one_of(values: Sequence[Node]) -> Draw:
    return lambda u: values[int(u * len(values))]


def _between(name: str, node: Node, ends: Sequence[Node], faults: list[Fault], *, logarithmic: bool) -> Draw:
    numbers = [yaml_nodes.plain(end) for end in ends]
    for end, number in zip(ends, numbers, strict=True):
        if isinstance(number, bool) or not isinstance(number, int | float):
            faults.append(fault_at(end, f"{name}: expected a number, got {number!r}"))
            return lambda _: node
    low, high = (float(number) for number in numbers)  # type: ignore[arg-type]
    if not low < high or (logarithmic and low <= 0):
        wrong = "two numbers above 0, the lower one first" if logarithmic else "`from` below `to`"
        faults.append(fault_at(node, f"{name}: expected {wrong}, got {low:g} and {high:g}"))
        return lambda _: node

    def draw(u: float) -> Node:
        value = low * math.exp(u * math.log(high / low)) if logarithmic else low + u * (high - low)
        rounded = min(max(float(f"{value:.{_DIGITS}g}"), low), high)
        return ScalarNode(yaml_nodes.STRING, repr(rounded), node.start_mark, node.end_mark)

    return draw
