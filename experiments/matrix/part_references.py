"""Find the parts of one's own that a matrix names, before its fields are read: they decide which fields it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments import own_dataset
from experiments.benchmarks import AnyBenchmark
from experiments.errors import Fault, expected
from experiments.matrix.spec_fields import FROM, TAG, Path, Schema, read_assignments, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.own_parts.kinds import PART_KINDS
from experiments.own_parts.read import OwnPart, ReferenceFault, is_reference, read_part
from experiments.spec import OWN, Part, Run

BENCHMARK: Path = ("benchmark",)
"""The path of a benchmark among parts: it is in no section of a run."""
DATA: Path = ("data",)
"""The section whose part is a name: that of the data set that it reads."""
LOSS = "loss"
"""The parameter of an attack that may be a part."""


class OwnParts:
    """The parts of a matrix, by the path of the section that chooses them and by reference."""

    def __init__(self, parts: Mapping[tuple[Path, str], OwnPart] | None = None) -> None:
        self._parts = dict(parts or {})

    def __iter__(self) -> Iterator[OwnPart]:
        return iter(self._parts.values())

    def of(self, path: Path) -> list[OwnPart]:
        """Return the parts that the section at a path may choose."""
        return [part for (place, _), part in self._parts.items() if place == path]

    @cached_property
    def schema(self) -> Schema:
        """Return the schema of a run with the fields of these parts."""
        kinds: dict[Path, list[type[Struct]]] = {}
        for (path, _), part in self._parts.items():
            if path[:1] != BENCHMARK and path != DATA:
                kinds.setdefault(path, []).append(part.fields)
        return Schema(Run, kinds) if kinds else schema(Run)

    @cached_property
    def benchmark_schema(self) -> Schema:
        """Return the schema of a benchmark with the fields of these parts."""
        kinds = [part.fields for part in self.of(BENCHMARK)]
        return Schema(AnyBenchmark, {(): kinds}) if kinds else schema(AnyBenchmark)

    def at(self, path: Path, node: Node, faults: list[Fault]) -> Part | None:
        """Return the part that a value names, None if it names none, and add the faults of its fields to `faults`."""
        is_mapping = isinstance(node, MappingNode)
        names = [value for key, value in node.value if key.value == FROM] if is_mapping else [node]
        part = self._parts.get((path, str(names[0].value))) if names else None
        if part is None:
            return None
        values = read_assignments(schema(part.fields), node, (), faults) if is_mapping else {}
        try:
            return part.spec({leaf[0]: item.value for leaf, item in values.items() if leaf != (TAG,)})
        except msgspec.ValidationError as error:
            faults.append(fault_at(node, f"{part.reference}: {error}"))
            return None

    def to_spec(self, nested: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return a section's nested leaves with the specs of parts in the place of their fields.

        Raises msgspec.ValidationError if a value is not of its field's type.
        """
        values = {
            name: self.to_spec(value, (*path, name)) if isinstance(value, dict) else value
            for name, value in nested.items()
        }
        part = self._parts.get((path, str(values.get(TAG))))
        if part is None:
            return values
        spec = part.spec({name: value for name, value in values.items() if name != TAG})
        builtins = dict(msgspec.to_builtins(spec))
        kinds = schema(Run).sections[path].kinds.values() if path in schema(Run).sections else ()
        # The built-in kinds of some sections have no tag, and a part is a field among theirs.
        return {OWN: builtins} if any(OWN in kind.__struct_fields__ for kind in kinds) else builtins


def read(sections: Mapping[str, Node], folder: FilePath, faults: list[Fault]) -> OwnParts:
    """Return the parts that the sections of a matrix name, and add the faults of those that can't be used.

    File names are those from `folder` on.
    """
    of_runs = [sections[name] for name in ("base", "variants", "grids") if name in sections]
    references = [pair for node in of_runs for pair in _references(node)]
    references += _benchmark_references(sections["evaluate"]) if "evaluate" in sections else []
    parts: dict[tuple[Path, str], OwnPart] = {}
    labels: dict[tuple[Path, str], OwnPart] = {}
    for node, path in references:
        key = path, str(node.value)
        if key in parts:
            continue
        try:
            if path[-1] not in PART_KINDS:
                raise ReferenceFault(f"no part of one's own can be used here; {expected(PART_KINDS, path[-1])}")
            part = read_part(key[1], path[-1], folder)
            if path == DATA:
                node.value = _dataset(part)
                continue
            parts[key] = part
        except ReferenceFault as fault:
            faults.append(fault_at(node, f"{'.'.join(path)}: {fault}"))
            continue
        # The column of a benchmark is its function's name alone.
        label = part.label.rpartition(":")[2] if path == BENCHMARK else part.label
        if path == BENCHMARK and label in schema(AnyBenchmark).sections[()].kinds:
            faults.append(fault_at(node, f"{part.reference}: {label} is a benchmark of cebctl's; call it otherwise"))
        other = labels.setdefault((path, label), part)
        if other is not part:
            faults.append(fault_at(node, f"{part.reference} would be called as {other.reference} is; rename one"))
    return OwnParts(parts)


def _dataset(part: OwnPart) -> str:
    """Return the name of the data set that a part reads. Raises ReferenceFault if nobody described it, or many."""
    command = f"`cebctl init NEW.yaml --data {part.reference}`"
    names = own_dataset.described_by(own_dataset.Reader(origin=part.label, digest=part.digest))
    if not names:
        raise ReferenceFault(
            f"the images of {part.reference} are not described yet; {command} reads and describes them"
        )
    if len(names) > 1:
        raise ReferenceFault(f"{part.reference} has read several sets of images; write which: {', '.join(names)}")
    return names[0]


def _benchmark_references(node: Node) -> Iterator[tuple[ScalarNode, Path]]:
    """Yield the reference of every benchmark of one's own."""
    for item in node.value if isinstance(node, SequenceNode) else ():
        if isinstance(item, ScalarNode) and is_reference(str(item.value)):
            yield item, BENCHMARK
        elif isinstance(item, MappingNode):
            for key, value in item.value:
                if key.value == FROM and isinstance(value, ScalarNode):
                    yield value, BENCHMARK
                for parameter, values in value.value if isinstance(value, MappingNode) else ():
                    if parameter.value == LOSS:
                        yield from _values(values, (*BENCHMARK, LOSS))


def _values(node: Node, path: Path) -> Iterator[tuple[ScalarNode, Path]]:
    """Yield the references among the values of one parameter."""
    for item in node.value if isinstance(node, SequenceNode) else [node]:
        if isinstance(item, ScalarNode) and is_reference(str(item.value)):
            yield item, path
        elif isinstance(item, MappingNode):
            yield from ((value, path) for key, value in item.value if key.value == FROM)


def _references(node: Node) -> Iterator[tuple[ScalarNode, Path]]:
    """Yield every reference below a node that holds fields of runs somewhere, with the path of its section."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _references(item)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            path = _section(str(key.value), ())
            yield from _references(value) if path is None else _in_section(value, path)


def _in_section(node: Node, path: Path) -> Iterator[tuple[ScalarNode, Path]]:
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _in_section(item, path)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == FROM or (key.value == TAG and is_reference(str(value.value))):
                if isinstance(value, ScalarNode) and not _is_range(node):
                    if path == DATA:
                        key.value = TAG  # the reference becomes a name
                    yield value, path
            elif (inner := _section(str(key.value), path)) is not None:
                yield from _in_section(value, inner)
    elif isinstance(node, ScalarNode) and is_reference(str(node.value)) and _takes_part(path):
        yield node, path


def _takes_part(path: Path) -> bool:
    return path == DATA or schema(Run).sections[path].tagged


def _is_range(node: MappingNode) -> bool:
    return {key.value for key, _ in node.value} == {"from", "to", "by"}


def _section(name: str, above: Path) -> Path | None:
    """Return the section that a field's name stands for, None if it stands for none."""
    tree = schema(Run)
    try:
        path = tree.resolve(".".join((*above, name)))
    except LookupError:
        return None
    path = path[:-1] if path[-1] == TAG and len(path) > 1 else path
    return path if path in tree.sections else None
