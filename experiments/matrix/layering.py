"""From layered leaves to one run: which leaves survive depends only on where they come from and on the tags.

A later layer (base, then variants, then axes) overrides an earlier one. A field that an earlier layer set and the
chosen kind does not have (rho, once the objective is xent) falls away; set in the same layer as the kind it is
an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from yaml.nodes import Node

from experiments import consistency
from experiments.errors import Fault, expected
from experiments.matrix.spec_fields import TAG, Path, Value, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Run

BASE, VARIANT, AXIS = range(3)


@dataclass(frozen=True, slots=True)
class Layered:
    """One leaf and the layer that set it."""

    value: Value
    layer: int


LayeredLeaves = dict[Path, Layered]


def tag_layer(values: Mapping[Path, Value], layer: int) -> LayeredLeaves:
    """All of these leaves, set by one layer."""
    return {path: Layered(value, layer) for path, value in values.items()}


@dataclass(frozen=True)
class _MergePlan:
    """What layers and tags alone say about a run: what is wrong, or which leaves make which of its sections."""

    problems: tuple[tuple[Path, str], ...]
    """(place, message)"""
    sections: tuple[tuple[str, tuple[Path, ...]], ...]
    scalars: tuple[Path, ...]


class Assembler:
    """Builds runs. A recipe is worked out once for each combination of layers and tags, and equal sections of
    different runs are one object: they are many in a large matrix, and whoever compares runs needs only look once."""

    def __init__(self) -> None:
        self._recipes: dict[Any, _MergePlan] = {}
        self._sections: dict[Any, Any] = {}

    def run(self, leaves: LayeredLeaves, node: Node, faults: list[Fault]) -> Run | None:
        """The run, or None and faults at the leaves that are wrong, else at `node`."""
        key = tuple(
            [(path, item.layer, item.value.value if path[-1] == TAG else None) for path, item in leaves.items()]
        )
        recipe = self._recipes.get(key)
        if recipe is None:
            recipe = self._recipes[key] = _recipe(leaves)
        for path, message in recipe.problems:
            faults.append(fault_at(leaves[path].value.node if path in leaves else node, message))
        if recipe.problems:
            return None
        given = {name: self._section(name, paths, leaves) for name, paths in recipe.sections}
        run = Run(**given, **{path[0]: leaves[path].value.value for path in recipe.scalars})
        if contradiction := consistency.contradiction(run):
            path = tuple(contradiction.field.split("."))
            # A default has no place in the file: point at the kind that has the field, else at the grid.
            nodes = [leaves[place].value.node for place in (path, (*path[:-1], TAG)) if place in leaves]
            faults.append(fault_at(nodes[0] if nodes else node, contradiction.message))
            return None
        return run

    def _section(self, name: str, paths: tuple[Path, ...], leaves: LayeredLeaves) -> Any:
        """One top-level section from its leaves, whose values are of the right types already."""
        key = (paths, *[leaves[path].value.value for path in paths])
        if key not in self._sections:
            nested: dict[str, Any] = {}
            for path in paths:
                into = nested
                for part in path[1:-1]:
                    into = into.setdefault(part, {})
                into[path[-1]] = leaves[path].value.value
            self._sections[key] = msgspec.convert(nested, _types()[name])
        return self._sections[key]


@cache
def _types() -> dict[str, Any]:
    return {info.name: info.type for info in msgspec.structs.fields(Run)}


def _recipe(leaves: LayeredLeaves) -> _MergePlan:
    tags = {path: item.value.value for path, item in leaves.items() if path[-1] == TAG}
    kept, problems = _surviving({path: item.layer for path, item in leaves.items()}, tags)
    sections: dict[str, list[Path]] = {}
    for path in sorted(path for path in kept if len(path) > 1):
        sections.setdefault(path[0], []).append(path)
    scalars = tuple(path for path in kept if len(path) == 1)
    return _MergePlan(tuple(problems), tuple((name, tuple(paths)) for name, paths in sections.items()), scalars)


def _surviving(layers: Mapping[Path, int], tags: Mapping[Path, Any]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Which leaves a run keeps, and what is wrong: (place, message)."""
    kept: list[Path] = []
    problems: list[tuple[Path, str]] = []
    _visit((), list(layers), layers, tags, kept, problems)
    return kept, problems


def _visit(
    section_path: Path,
    mine: list[Path],
    layers: Mapping[Path, int],
    tags: Mapping[Path, Any],
    kept: list[Path],
    problems: list[tuple[Path, str]],
) -> None:
    """One section, and those below it, of which `mine` are the leaves that are set."""
    tree = schema(Run)
    section = tree.sections[section_path]
    owner = ".".join(section_path)
    tag_path = (*section_path, TAG)
    if section.tagged and tag_path not in layers:
        what = f"{tree.short(mine[0])} is set but no {owner} is chosen"
        problems.append((mine[0], f"{what}; {expected(section.kinds, '')}"))
        return
    tag = tags[tag_path] if section.tagged else ""
    fields = section.fields(tag)
    groups: dict[str, list[Path]] = {}
    for path in mine:
        groups.setdefault(path[len(section_path)], []).append(path)
    for name, paths in groups.items():
        if name in fields and (*section_path, name) in tree.sections:
            _visit((*section_path, name), paths, layers, tags, kept, problems)
        elif name in fields or (name == TAG and section.tagged):
            kept.extend(paths)
        elif min(layers[path] for path in paths) >= layers[tag_path]:
            allowed = expected(fields, name) if fields else "it has none"
            problems.append((paths[0], f"{tree.short(paths[0])}: {owner} {tag!r} has no such field; {allowed}"))
    for name, info in fields.items():
        if info.required and name not in groups:
            place = tag_path if section.tagged else ()
            needed_by = f"{owner} {tag!r}" if section.tagged else "every run"
            problems.append((place, f"{'.'.join((*section_path, name))} is missing; {needed_by} needs it"))
