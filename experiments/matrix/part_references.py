"""Find the parts of one's own that a matrix names, before its fields are read: they decide which fields it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, expected
from experiments.matrix.spec_fields import FROM, TAG, Path, Schema, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.own_parts.read import OwnPart, ReferenceFault, is_reference, read_part
from experiments.spec import PART_KINDS, Run


class OwnParts:
    """The parts of a matrix, by the path of the section that chooses them and by reference."""

    def __init__(self, parts: Mapping[tuple[Path, str], OwnPart] | None = None) -> None:
        self._parts = dict(parts or {})

    def __iter__(self) -> Iterator[OwnPart]:
        return iter(self._parts.values())

    def schema(self) -> Schema:
        """Return the schema of a run with the fields of these parts."""
        if not self._parts:
            return schema(Run)
        kinds: dict[Path, list[Any]] = {}
        for (path, _), part in self._parts.items():
            kinds.setdefault(path, []).append(part.fields)
        return Schema(Run, kinds)

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
        return dict(msgspec.to_builtins(spec))

    def fields(self, path: Path, tag: object) -> type[msgspec.Struct] | None:
        """Return the fields of a part, None of a built-in kind."""
        part = self._parts.get((path, str(tag)))
        return part.fields if part else None


def read(sections: Iterable[Node], folder: FilePath, faults: list[Fault]) -> OwnParts:
    """Return the parts that these sections of a matrix name, and add the faults of those that can't be used.

    File names are those from `folder` on.
    """
    parts: dict[tuple[Path, str], OwnPart] = {}
    labels: dict[tuple[Path, str], OwnPart] = {}
    for node, path in (pair for section in sections for pair in _references(section)):
        key = path, str(node.value)
        if key in parts:
            continue
        try:
            if path[-1] not in PART_KINDS:
                raise ReferenceFault(f"no part of one's own can be used here; {expected(PART_KINDS, path[-1])}")
            part = parts[key] = read_part(key[1], path[-1], folder)
        except ReferenceFault as fault:
            faults.append(fault_at(node, f"{'.'.join(path)}: {fault}"))
            continue
        other = labels.setdefault((path, part.label), part)
        if other is not part:
            faults.append(fault_at(node, f"{part.reference} would be called as {other.reference} is; rename one file"))
    return OwnParts(parts)


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
                    yield value, path
            elif (inner := _section(str(key.value), path)) is not None:
                yield from _in_section(value, inner)
    elif isinstance(node, ScalarNode) and is_reference(str(node.value)) and schema(Run).sections[path].tagged:
        yield node, path


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
