"""Read the `resources` section of a matrix: the requests of each stage to the cluster.

    resources:
      train: {gpus_per_node: 8, gpu_type: a100, cpus_per_gpu: 12, memory: 480G, time: 48:00:00}
      evaluate: {gpus_per_node: 1, time: 8:00:00, retries: {failed: 1}}
      when:                                  # later entries override earlier ones, field by field
        - only: depth = 152, width = 2
          train: {nodes: 4}

A matrix without this section requests one CPU core of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, InputError, expected
from experiments.matrix import selection
from experiments.matrix.spec_fields import Path, Schema, Value, nest, read_assignments, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.resources import REFUSED_OPTIONS, STAGES, Resources, Stage

Assigned = Mapping[Path, Any]
"""The values that a mapping sets, by leaf."""


@dataclass(frozen=True)
class Rules:
    """The requests of every run, and those of some runs that override them."""

    base: Mapping[Stage, Assigned] = field(default_factory=dict)
    overrides: tuple[tuple[selection.Selection, Mapping[Stage, Assigned]], ...] = ()
    _cache: dict[tuple[Stage, tuple[int, ...]], Resources] = field(default_factory=dict, compare=False)

    def resources(self, leaves: Mapping[Path, Any], stage: Stage) -> Resources:
        """Return the resources that a run with these leaves requests in a stage; equal ones are one object."""
        matching = tuple(index for index, (only, _) in enumerate(self.overrides) if only.matches(leaves))
        if (stage, matching) not in self._cache:
            merged = dict(self.base.get(stage, {}))
            for index in matching:
                merged |= self.overrides[index][1].get(stage, {})
            resources = msgspec.convert(nest(merged), Resources)
            equal = next((cached for cached in self._cache.values() if cached == resources), resources)
            self._cache[stage, matching] = equal
        return self._cache[stage, matching]


def read(node: Node | None, faults: list[Fault], runs: Schema) -> Rules:
    """Return the rules of a `resources` section and add its faults to `faults`.

    `runs` has the fields that select runs.
    """
    if node is None:
        return Rules()
    if not isinstance(node, MappingNode):
        faults.append(fault_at(node, "resources: expected a mapping of train, evaluate and when"))
        return Rules()
    base = _stages(node, ("when",), faults)
    overrides = []
    for key, value in node.value:
        if key.value == "when":
            overrides = [rule for item in _items(value, faults) if (rule := _override(item, faults, runs))]
    return Rules(base, tuple(overrides))


def _override(
    item: Node, faults: list[Fault], runs: Schema
) -> tuple[selection.Selection, Mapping[Stage, Assigned]] | None:
    only = [value for key, value in item.value if key.value == "only"] if isinstance(item, MappingNode) else []
    if not isinstance(item, MappingNode) or not only or not isinstance(only[0], ScalarNode):
        faults.append(fault_at(item, "when: expected `only: a selection` and the resources of some stages"))
        return None
    stages = _stages(item, ("only",), faults)
    try:
        return selection.parse(only[0].value, runs), stages
    except InputError as error:
        faults.append(fault_at(only[0], str(error)))
        return None


def _stages(node: MappingNode, other_keys: tuple[str, ...], faults: list[Fault]) -> dict[Stage, Assigned]:
    stages: dict[Stage, Assigned] = {}
    for key, value in node.value:
        if key.value in STAGES:
            values: dict[Path, Value] = read_assignments(schema(Resources), value, (), faults)
            if key.value == "evaluate":
                faults += [
                    fault_at(item.node, f"{'.'.join(path)}: evaluations have no such choice; leave it out")
                    for path, item in values.items()
                    if path[0] == "execution"
                ]
            if directives := values.get(("directives",)):
                options = [directive.partition("=")[0] for directive in directives.value]
                faults += [
                    fault_at(directives.node, f"directives: {option} is not allowed; {REFUSED_OPTIONS[option]}")
                    for option in options
                    if option in REFUSED_OPTIONS
                ]
            stages[key.value] = {path: item.value for path, item in values.items()}
        elif key.value not in other_keys:
            allowed = (*STAGES, *other_keys)
            faults.append(fault_at(key, f"unknown field {key.value!r} of resources; {expected(allowed, key.value)}"))
    return stages


def _items(node: Node, faults: list[Fault]) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    faults.append(fault_at(node, "when: expected a list"))
    return []
