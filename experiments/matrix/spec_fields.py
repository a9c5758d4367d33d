"""Flatten a tree of msgspec structs into dotted paths, and read a YAML node into one of its fields.

A tagged union is one section: its tag is the leaf `<section>.name`, and the section's own path stands for it,
so that `objective: ceb` and `objective: {name: ceb}` are the same. Any unique suffix of a leaf's path names the leaf:
`rho` is `objective.rho`.
"""

from __future__ import annotations

import math
import re
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, expected
from experiments.matrix import yaml_nodes
from experiments.matrix.field_hints import field_hint, value_hint
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import OWN, Part, Run

Path = tuple[str, ...]
TAG = "name"
FROM = "from"
"""The key that chooses a part of one's own, as `name` a built-in kind."""


@dataclass(frozen=True)
class SchemaSection:
    """A struct, or a tagged union of structs, at one path."""

    path: Path
    kinds: Mapping[str, type[Struct]]
    """By tag. A plain struct has the one kind ''; one whose kinds its `KINDS` lists has each of them."""

    @property
    def tagged(self) -> bool:
        return "" not in self.kinds

    @property
    def default(self) -> str:
        """Return the kind that is meant where none is chosen; '' if one must be."""
        tag, struct = next(iter(self.kinds.items()))
        return tag if _kinds(struct) else ""

    def fields(self, tag: str) -> Mapping[str, msgspec.structs.FieldInfo]:
        struct = self.kinds[tag]
        names = _kinds(struct).get(tag)
        return _struct_fields(struct) if names is None else {name: _struct_fields(struct)[name] for name in names}


@dataclass
class Schema:
    """Every section and leaf below one struct type, or below a tagged union of them."""

    root: Any
    own_parts: Mapping[Path, Sequence[type[Struct]]] = field(default_factory=dict)
    """The fields of parts of one's own, further kinds of the sections at these paths."""
    sections: dict[Path, SchemaSection] = field(default_factory=dict)
    leaves: dict[Path, Any] = field(default_factory=dict)
    """The type of each leaf. Of a field that several kinds of a section have, the union of their types."""

    def __post_init__(self) -> None:
        self._add((), self.root)
        self._by_suffix: dict[str, set[Path]] = {}
        self._index(self.leaves)
        # A built-in field keeps its short name beside a part's of the same name.
        built_in = self._by_suffix
        self._by_suffix = {}
        for path, kinds in self.own_parts.items():
            earlier = set(self.leaves)
            self._add_kinds(path, kinds)
            self._index(leaf for leaf in self.leaves if leaf not in earlier)
        self._by_suffix |= built_in

    def _index(self, leaves: Iterable[Path]) -> None:
        sections = [path for path in self.sections if path]
        for path in (*leaves, *sections):
            target = self.canonical(path)
            for start in range(len(path)):
                self._by_suffix.setdefault(".".join(path[start:]), set()).add(target)

    def canonical(self, path: Path) -> Path:
        """Return the path of a field, and of a section that is chosen by name the path of that name."""
        section = self.sections.get(path)
        return (*path, TAG) if section and (*path, TAG) in self.leaves else path

    def resolve(self, name: str) -> Path:
        """Return the path that a name stands for: the exact one, else the only one that it is a suffix of.

        Raises LookupError with the fault and the allowed names.
        """
        exact = tuple(name.split("."))
        if exact in self.leaves or exact in self.sections:
            return self.canonical(exact)
        candidates = self._by_suffix.get(name, set())
        if len(candidates) == 1:
            return next(iter(candidates))
        if candidates:
            choices = ", ".join(sorted(".".join(path) for path in candidates))
            raise LookupError(f"{name!r} could be any of {choices}; write which")
        raise LookupError(f"unknown field {name!r}; {self.hint(name) or expected(self.names(), name)}")

    def hint(self, name: str, section: str = "") -> str:
        """Return what to write for another tool's word, within a section only its own fields; '' without a hint."""
        if self.root is not Run:
            return ""
        paths = [(tag, ".".join(path)) for path, node in self.sections.items() if node.tagged for tag in node.kinds]
        taken = Counter(tag for tag, _ in paths)
        sections = {tag: path for tag, path in paths if taken[tag] == 1}
        return field_hint(name, self._is_field, sections, section)

    def _is_field(self, name: str) -> bool:
        path = tuple(name.split("."))
        return path in self.leaves or path in self.sections

    def unique_names(self) -> dict[str, Path]:
        """Return every name that stands for one field or section, with its path."""
        unique = {name: next(iter(paths)) for name, paths in self._by_suffix.items() if len(paths) == 1}
        return unique | {".".join(path): self.canonical(path) for path in (*self.leaves, *self.sections) if path}

    def names(self) -> list[str]:
        """Return the shortest name of every field, sorted."""
        return sorted({self.short(path) for path in self.leaves})

    def short(self, path: Path) -> str:
        """Return the shortest name of a leaf: `rho`, `objective`, `jump_start.steps`; of a part's field, in a schema
        without the part, its name alone unless a built-in field has it."""
        if path not in self.leaves and path[-1] not in self._by_suffix:
            return path[-1]
        parts = path[:-1] if path[-1] == TAG and len(path) > 1 else path
        for start in range(len(parts) - 1, -1, -1):
            name = ".".join(parts[start:])
            if self._by_suffix.get(name) == {path}:
                return name
        return ".".join(path)

    def _add(self, path: Path, kind: Any) -> None:
        # A part is no kind that a matrix chooses by name: it adds its own.
        self.sections[path] = SchemaSection(path, {})
        self._add_kinds(path, [struct for struct in _structs(kind) if not issubclass(struct, Part)])

    def _add_kinds(self, path: Path, kinds: Sequence[type[Struct]]) -> None:
        tags = {tag: struct for struct in kinds for tag in _kinds(struct) or (_tag(struct),)}
        section = self.sections[path] = SchemaSection(path, {**self.sections[path].kinds, **tags})
        if section.tagged:
            self.leaves[(*path, TAG)] = Literal[tuple(section.kinds)]
        for struct in kinds:
            for name, info in _struct_fields(struct).items():
                if (name == TAG and section.tagged) or name == OWN:
                    continue
                if _structs(info.type):
                    self._add((*path, name), info.type)
                else:
                    kind = written_type(info.type)
                    earlier = self.leaves.setdefault((*path, name), kind)
                    # The same leaf in two kinds may differ in its default, in its literals, or in a part in all.
                    if earlier != kind:
                        self.leaves[(*path, name)] = Union[earlier, kind]  # noqa: UP007


@cache
def schema(root: Any) -> Schema:
    """Return the schema of a struct type or of a tagged union, built once."""
    return Schema(root)


@dataclass(frozen=True)
class Value:
    """The value of a leaf that a file sets, and the node where it stands."""

    value: Any
    node: Node


def read_assignments(tree: Schema, node: Node, prefix: Path, faults: list[Fault]) -> dict[Path, Value]:
    """Return the leaves that a mapping sets, nested or dotted or by short names, and add its faults to `faults`."""
    values: dict[Path, Value] = {}
    if not isinstance(node, MappingNode):
        faults.append(fault_at(node, f"{'.'.join(prefix) or 'here'}: expected a mapping of fields"))
        return values
    for key, value in node.value:
        is_tagged = prefix in tree.sections and tree.sections[prefix].tagged
        try:
            path = tree.resolve(".".join((*prefix, TAG if is_tagged and key.value == FROM else key.value)))
        except LookupError as error:
            faults.append(fault_at(key, _unknown_field(tree, prefix, key.value, node) or str(error)))
            continue
        for leaf, item in read_field(tree, path, value, faults).items():
            if leaf in values:
                faults.append(set_twice(tree, leaf, values[leaf], item))
            values[leaf] = item
    return values


def set_twice(tree: Schema, leaf: Path, first: Value, second: Value) -> Fault:
    """Return the fault of a leaf with two values of which neither is meant to override the other."""
    place = fault_at(first.node, "")
    earlier = f"at line {place.line}, column {place.column}"
    return fault_at(second.node, f"{tree.short(leaf)} is set twice: here, and {earlier}; leave one of them out")


def read_field(tree: Schema, path: Path, node: Node, faults: list[Fault]) -> dict[Path, Value]:
    """Return the leaves that `node` sets at the field `path`: one, or several where a section has a mapping."""
    section_path = path[:-1] if path[-1] == TAG and path[:-1] in tree.sections else path
    if isinstance(node, MappingNode) and section_path in tree.sections:
        return read_assignments(tree, node, section_path, faults)
    if path in tree.sections:
        faults.append(fault_at(node, f"{'.'.join(path)}: expected a mapping of its fields"))
        return {}
    value = read_value(tree.leaves[path], node, tree.short(path), faults)
    return {} if value is None else {path: value}


def read_value(kind: Any, node: Node, name: str, faults: list[Fault]) -> Value | None:
    """Return the node as a value of this type, or None and add the fault `name: expected …, got …`."""
    raw = plain(kind, node)
    try:
        value = _convert(raw, kind)
        if isinstance(value, float) and not math.isfinite(value):  # 1e999
            raise msgspec.ValidationError
    except msgspec.ValidationError:
        items = node.value if isinstance(node, SequenceNode) and get_origin(kind) is tuple else ()
        if any(read_value(get_args(kind)[0], item, name, faults) is None for item in items):
            return None  # the first wrong item has its fault
        words = {ScalarNode: repr(raw), SequenceNode: "a list", MappingNode: "a mapping"}
        literals = _literals(kind)
        hint = f"; {_expected_value(literals, raw)}" if literals and isinstance(raw, str) else ""
        faults.append(fault_at(node, f"{name}: expected {_allowed_values(kind, raw)}, got {words[type(node)]}{hint}"))
        return None
    # Names of runs and cells of tables hold it, and terminals obey control characters.
    if not all(
        item.isprintable() for item in (value if isinstance(value, tuple) else [value]) if isinstance(item, str)
    ):
        faults.append(fault_at(node, f"{name}: {raw!a} has a character that can't be printed"))
        return None
    return Value(value + 0.0 if isinstance(value, float) else value, node)  # -0.0 + 0.0 is 0.0: one id for both


def _expected_value(literals: tuple[str, ...], raw: str) -> str:
    name = value_hint(raw, literals)
    return f"did you mean {name!r}?" if name else expected(literals, raw)


def _convert(raw: object, kind: Any) -> Any:
    """Return a value as one of this type; of a union, as its first type that takes it. Raises ValidationError."""
    # Parts and built-in kinds may have fields of one name and different numbers, which msgspec takes for no union.
    *kinds, last = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for item in kinds:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(raw, item, strict=True)
    return msgspec.convert(raw, last, strict=True)


def flatten(value: Struct, prefix: Path = (), *, unset: bool = False) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves of a struct value, tags included; with `unset` also those that are unset."""
    names: Iterable[str] = value.__struct_fields__
    if OWN in names and getattr(value, OWN):
        names = [OWN]
    if isinstance(value, Part):
        yield (*prefix, TAG), value.origin
        yield from (((*prefix, name), item) for name, item in value.fields.items())
        names = [name for name in names if name not in Part.__struct_fields__]
    elif tag := _tag(type(value)):
        yield (*prefix, TAG), tag
    for name in names:
        item = getattr(value, name)
        if isinstance(item, Struct):
            yield from flatten(item, prefix if name == OWN else (*prefix, name), unset=unset)
        elif unset or item is not UNSET:
            yield (*prefix, name), item


def without_absent(value: Struct) -> Struct:
    """Return the struct without the fields whose value is what their absence means, as `absent` in a `Meta` says."""
    changes: dict[str, Any] = {}
    absent = absent_values(type(value))
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if isinstance(item, Struct):
            changes[name] = without_absent(item)
        elif name in absent and item == absent[name]:
            changes[name] = UNSET
    changed = any(getattr(value, name) is not item for name, item in changes.items())
    return msgspec.structs.replace(value, **changes) if changed else value


@cache
def absent_values(struct: type[Struct]) -> Mapping[str, Any]:
    """Return the fields of a struct whose absence means a value, with that value."""
    values = {name: _absent_value(info.type) for name, info in _struct_fields(struct).items()}
    return {name: value for name, value in values.items() if value is not UNSET}


def meant_by_absence(tree: Schema, path: Path, leaves: Mapping[Path, Any]) -> Any:
    """Return the value that the absence of this leaf among a struct's means, UNSET if it means none, or if the kind
    that was chosen has no such field."""
    section = tree.sections.get(path[:-1])
    if section is None or not section.kinds:
        return UNSET
    tag = leaves.get((*path[:-1], TAG), section.default) if section.tagged else ""
    return absent_values(section.kinds[tag]).get(path[-1], UNSET) if tag in section.kinds else UNSET


def _absent_value(kind: Any) -> Any:
    for part in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,):
        if get_origin(part) is Annotated:
            extras = [meta.extra for meta in get_args(part)[1:] if isinstance(meta, Meta) and meta.extra]
            return next((extra["absent"] for extra in extras if "absent" in extra), UNSET)
    return UNSET


def nest(values: Mapping[Path, Any]) -> dict[str, Any]:
    """Return leaves as nested mappings, the inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for path, value in values.items():
        mapping = nested
        for name in path[:-1]:
            mapping = mapping.setdefault(name, {})
        mapping[path[-1]] = value
    return nested


def _allowed_values(kind: Any, raw: object) -> str:
    """Return a type in words, without its bounds where text stands in the place of a number: they would not help."""
    plain_number = get_origin(kind) is Annotated and get_args(kind)[0] in (int, float) and not unit(kind)
    return describe_type(get_args(kind)[0] if plain_number and isinstance(raw, str) else kind)


def describe_type(kind: Any) -> str:
    """Return a type in words: `a number > 0`, `one of linf, l2`, `a list of numbers`."""
    literals = _literals(kind)
    if literals:
        return f"one of {', '.join(literals)}"
    if get_origin(kind) is Annotated:
        base, *metas = get_args(kind)
        for meta in metas:
            if isinstance(meta, Meta) and meta.description:
                return meta.description
        return describe_type(base) + "".join(_bounds(meta) for meta in metas if isinstance(meta, Meta))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(describe_type(arg) for arg in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each {describe_type(get_args(kind)[0])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(kind, str(kind))


def _bounds(meta: Meta) -> str:
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    bounds = [f"{sign} {getattr(meta, key):g}" for key, sign in signs if getattr(meta, key) is not None]
    unit = " in [0, 1] pixel units, like 0.03, 8/255 or 8 px" if _meta_unit(meta) == "pixels" else ""
    bounds += [f"a multiple of {meta.multiple_of:g}"] if meta.multiple_of else []
    return (" " + " and ".join(bounds) if bounds else "") + unit


def _unknown_field(tree: Schema, prefix: Path, name: str, node: MappingNode) -> str:
    """Return the fault of a name that is unknown in a section, with the fields of the kind that its mapping chooses, or
    of all kinds; '' outside of sections."""
    if not prefix or prefix not in tree.sections:
        return ""
    section = tree.sections[prefix]
    allowed = {TAG} if section.tagged else set()
    chosen = [value.value for key, value in node.value if key.value in (TAG, FROM) and value.value in section.kinds]
    for tag in chosen or section.kinds:
        allowed |= set(section.fields(tag))
    owner = ".".join(prefix)
    return f"{owner}: unknown field {name!r}; {tree.hint(name, owner) or expected(allowed, name)}"


def plain(kind: Any, node: Node) -> object:
    """Return the node as plain Python for a value of this type: a radius may be written in grey values."""
    raw = yaml_nodes.plain(node)
    if isinstance(raw, dict) and is_mapping_of_literals(kind):
        return msgspec.json.encode(raw, order="sorted").decode()
    return _pixels(raw) if unit(kind) == "pixels" and isinstance(raw, str) else raw


def _pixels(text: str) -> object:
    """Return `8/255` and `8 px` in [0, 1] pixel units, and any other text as it is."""
    number = r"\s*([0-9]+(?:\.[0-9]+)?)\s*"
    if match := re.fullmatch(rf"{number}/{number}", text):
        return float(match[1]) / float(match[2]) if float(match[2]) else text
    if match := re.fullmatch(rf"{number}px\s*", text):
        return float(match[1]) / 255
    return text


def is_mapping_of_literals(kind: Any) -> bool:
    """Return whether a matrix writes a leaf of this type as a mapping: see `experiments.spec.Literals`."""
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return any((meta.extra or {}).get("literals", False) for meta in metas if isinstance(meta, Meta))


def unit(kind: Any) -> str:
    """Return the unit that a type's `Meta` states, as in `experiments.spec.Pixels`; '' without one."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(filter(None, map(unit, get_args(kind))), "")
    if get_origin(kind) is Annotated:
        metas = (meta for meta in get_args(kind)[1:] if isinstance(meta, Meta))
        return next(filter(None, map(_meta_unit, metas)), "")
    return ""


def _meta_unit(meta: Meta) -> str:
    return str((meta.extra or {}).get("unit", ""))


def _literals(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return tuple(str(value) for value in get_args(kind))
    if get_origin(kind) is Annotated:  # listed names, and others of a pattern
        metas = (meta for meta in get_args(kind)[1:] if isinstance(meta, Meta))
        return next((tuple(meta.extra["names"]) for meta in metas if meta.extra and "names" in meta.extra), ())
    if get_origin(kind) in (Union, types.UnionType) and all(_literals(arg) for arg in get_args(kind)):
        return tuple(value for arg in get_args(kind) for value in _literals(arg))
    return ()


def written_type(kind: Any) -> Any:
    """Return the type of the values that a file sets: unset is none of them, and a part is read by `from`."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    return Union[tuple(arg for arg in get_args(kind) if arg not in (UnsetType, Part))]  # noqa: UP007


def _structs(kind: Any) -> tuple[type[Struct], ...]:
    """Return the structs of a struct type or of a union of them, () for a leaf type."""
    if get_origin(kind) in (Union, types.UnionType):
        structs = tuple(struct for arg in get_args(kind) for struct in _structs(arg))
        return structs if len(structs) == len(get_args(kind)) else ()
    return (kind,) if isinstance(kind, type) and issubclass(kind, Struct) else ()


def _kinds(struct: type[Struct]) -> Mapping[str, Iterable[str]]:
    """Return the fields of each kind of a struct that lists them, as `experiments.spec.Schedule`; else nothing."""
    return getattr(struct, "KINDS", {})


def _tag(struct: type[Struct]) -> str:
    return str(struct.__struct_config__.tag or "")


@cache
def _struct_fields(struct: type[Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {info.name: info for info in msgspec.structs.fields(struct)}
