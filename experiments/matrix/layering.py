"""Merge layers of leaves into runs.

A later layer (base, then variants, then axes) overrides an earlier one. A field that an earlier layer set and that the
chosen kind lacks (rho, once the objective is xent) is dropped; set in the same layer as the kind, it is an error.
So the leaves that a run keeps depend only on their layers and on the tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET
from yaml.nodes import Node

from experiments import consistency, lineage, pretrained
from experiments.errors import Fault, expected
from experiments.matrix.part_references import OwnParts
from experiments.matrix.spec_fields import TAG, Path, Schema, Value, absent_values, nest, read_value, without_absent
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Run

BASE, VARIANT, AXIS = range(3)


@dataclass(frozen=True, slots=True)
class Layered:
    """A leaf's value and the layer that set it."""

    value: Value
    layer: int


LayeredLeaves = dict[Path, Layered]


def tag_layer(values: Mapping[Path, Value], layer: int) -> LayeredLeaves:
    """Return leaves with the layer that sets them."""
    return {path: Layered(value, layer) for path, value in values.items()}


@dataclass(frozen=True)
class _MergePlan:
    """The result of merging one combination of layers and tags: its problems, or the leaves of each section."""

    problems: tuple[tuple[Path, str], ...]
    """Pairs (path of the leaf, message)."""
    sections: tuple[tuple[str, tuple[Path, ...]], ...]
    scalars: tuple[Path, ...]


class Assembler:
    """Builds runs. It makes one plan for each combination of layers and tags, and one object for equal sections of
    different runs: a large matrix has many, and comparing them by identity is quick."""

    def __init__(self, tree: Schema, parts: OwnParts) -> None:
        self._tree, self._parts = tree, parts
        self._plans: dict[Any, _MergePlan] = {}
        self._sections: dict[Any, Any] = {}
        self._types = {info.name: info.type for info in msgspec.structs.fields(Run)}
        self._absent = absent_values(Run)

    def run(self, leaves: LayeredLeaves, node: Node, faults: list[Fault]) -> Run | None:
        """Return the run of these leaves, or None and add faults, at the wrong leaves or else at `node`."""
        # Values other than tags make no difference to the plan: runs of a grid mostly share one.
        key = tuple(
            [(path, item.layer, item.value.value if path[-1] == TAG else None) for path, item in leaves.items()]
        )
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _merge(self._tree, leaves)
        for path, message in plan.problems:
            faults.append(fault_at(leaves[path].value.node if path in leaves else node, message))
        if plan.problems:
            return None
        try:
            sections = {name: self._section(name, paths, leaves) for name, paths in plan.sections}
        except msgspec.ValidationError:
            self._add_type_faults(plan, leaves, faults)
            return None
        scalars = {path[0]: leaves[path].value.value for path in plan.scalars}
        run = Run(
            **sections, **{name: value for name, value in scalars.items() if value != self._absent.get(name, UNSET)}
        )
        if (schedule := lineage.resolved_schedule(run)) is not run.schedule:
            run = msgspec.structs.replace(run, schedule=schedule)
        try:
            run = pretrained.resolved(run)
        except LookupError as error:
            place = leaves.get(("network", "pretrained"))
            faults.append(fault_at(place.value.node if place else node, str(error)))
            return None
        if contradiction := consistency.contradiction(run):
            path = tuple(contradiction.field.split("."))
            # A default has no place in the file: point at the kind that has the field, else at the grid.
            nodes = [leaves[place].value.node for place in (path, (*path[:-1], TAG)) if place in leaves]
            faults.append(fault_at(nodes[0] if nodes else node, contradiction.message))
            return None
        return run

    def _section(self, name: str, paths: tuple[Path, ...], leaves: LayeredLeaves) -> Any:
        """Return one top-level section of a run, whose leaves have values of the right types already."""
        key = (paths, *[leaves[path].value.value for path in paths])
        if key not in self._sections:
            nested = nest({path[1:]: leaves[path].value.value for path in paths})
            spec = msgspec.convert(self._parts.to_spec(nested, (name,)), self._types[name])
            self._sections[key] = without_absent(spec)
        return self._sections[key]

    def _add_type_faults(self, plan: _MergePlan, leaves: LayeredLeaves, faults: list[Fault]) -> None:
        """Add a fault for each leaf whose value another kind of its section would take, but not the one chosen."""
        for path in (path for _, paths in plan.sections for path in paths if path[-1] != TAG):
            section = self._tree.sections[path[:-1]]
            tag = leaves[(*path[:-1], TAG)].value.value if (*path[:-1], TAG) in leaves else section.default
            info = section.fields(tag)[path[-1]]
            read_value(info.type, leaves[path].value.node, self._tree.short(path), faults)


def _merge(tree: Schema, leaves: LayeredLeaves) -> _MergePlan:
    layers = {path: item.layer for path, item in leaves.items()}
    tags = {path: item.value.value for path, item in leaves.items() if path[-1] == TAG}
    surviving: list[Path] = []
    problems: list[tuple[Path, str]] = []
    _merge_section(tree, (), list(layers), layers, tags, surviving, problems)
    sections: dict[str, list[Path]] = {}
    for path in sorted(path for path in surviving if len(path) > 1):
        sections.setdefault(path[0], []).append(path)
    scalars = tuple(path for path in surviving if len(path) == 1)
    return _MergePlan(tuple(problems), tuple((name, tuple(paths)) for name, paths in sections.items()), scalars)


def _merge_section(
    tree: Schema,
    section_path: Path,
    set_paths: list[Path],
    layers: Mapping[Path, int],
    tags: Mapping[Path, Any],
    surviving: list[Path],
    problems: list[tuple[Path, str]],
) -> None:
    """Add the surviving leaves and the problems of one section and of those below it.

    `set_paths` are the leaves that some layer sets in it.
    """
    section = tree.sections[section_path]
    owner = ".".join(section_path)
    tag_path = (*section_path, TAG)
    if section.tagged and tag_path not in layers and not section.default:
        wrong = f"{tree.short(set_paths[0])} is set but no {owner} is chosen"
        problems.append((set_paths[0], f"{wrong}; {expected(section.kinds, '')}"))
        return
    tag = tags.get(tag_path, section.default) if section.tagged else ""
    fields = section.fields(tag)
    groups: dict[str, list[Path]] = {}
    for path in set_paths:
        groups.setdefault(path[len(section_path)], []).append(path)
    for name, paths in groups.items():
        if name in fields and (*section_path, name) in tree.sections:
            _merge_section(tree, (*section_path, name), paths, layers, tags, surviving, problems)
        elif name in fields or (name == TAG and section.tagged):
            surviving.extend(paths)
        elif min(layers[path] for path in paths) >= layers.get(tag_path, BASE):
            # The layer of the kind, or a later one, sets a field that the kind lacks: no leftover of an earlier kind.
            allowed = expected(fields, name) if fields else "it has none"
            if owners := ", ".join(kind for kind in section.kinds if name in section.fields(kind)):
                allowed += f"; {owners}: these have it"
            problems.append((paths[0], f"{tree.short(paths[0])}: {owner} {tag!r} has no such field; {allowed}"))
    for name, info in fields.items():
        if info.required and name not in groups:
            place = tag_path if section.tagged else ()
            needed_by = f"{owner} {tag!r}" if section.tagged else "every run"
            problems.append((place, f"{'.'.join((*section_path, name))} is missing; {needed_by} needs it"))
