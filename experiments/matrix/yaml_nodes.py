"""Read YAML strictly into nodes that know their line and column, with the scalars of YAML 1.2.

PyYAML reads YAML 1.1, where `1e-3` is a string, `24:00:00` is 86400 and `no` is false. Matrices follow the
YAML 1.2 core schema instead, so that a scalar means what it looks like. Nothing is ever constructed from a tag.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, InputError, MatrixError, expected

MAX_BYTES = 1_000_000
"""A matrix larger than this is refused unread: the largest real one is a few kilobytes."""

MAX_NODES = 100_000
"""Nodes counted with aliases expanded, so that nested aliases can't explode."""

MAX_DEPTH = 100
"""Nesting; libyaml's composer calls itself for each level and would take the process down with it."""

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

MAPPING, SEQUENCE, STRING = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))
_PLAIN_TAGS = (MAPPING, SEQUENCE, STRING)

Scalar = None | bool | int | float | str


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML was built with it: ten times faster, so that a hostile file is refused in time."""


class _ComposeOnly(_SafeLoader):  # type: ignore[misc]
    """The safe loader without implicit types: a plain scalar stays text until `scalar` reads it."""


_ComposeOnly.yaml_implicit_resolvers = {}


def fault_at(node: Node, message: str) -> Fault:
    """Return a fault at the place where `node` starts."""
    return Fault(node.start_mark.line + 1, node.start_mark.column + 1, message)


def scalar(node: ScalarNode) -> Scalar:
    """Return the value of a scalar node under the YAML 1.2 core schema (numbers in decimal only)."""
    text: str = node.value
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        # As a float, an integer beyond int64 fails its type check; int() is slow on very long texts or refuses them.
        return int(text) if len(text) < 20 else float(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def plain(node: Node) -> object:
    """Return a node as plain Python: scalars by YAML 1.2, lists, and dicts in the order of the file."""
    if isinstance(node, MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.value]
    assert isinstance(node, ScalarNode)
    return scalar(node)


def compose(path: Path) -> MappingNode:
    """Read one YAML document whose top level is a mapping.

    Raises InputError if the file can't be read, MatrixError (with line and column) for everything else:
    not UTF-8, a syntax error, a second document, a tag, a cycle, too many nodes, a key twice.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # of a device there is no end
        if len(content) > MAX_BYTES:
            raise InputError(path, "too large", f"a matrix has at most {MAX_BYTES:,} bytes")
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, f"byte {error.start} is not UTF-8") from None
    except OSError as error:
        siblings = [*path.parent.glob("[!.]*.yaml")] if isinstance(error, FileNotFoundError) else []
        allowed = expected(map(str, siblings), str(path)) if siblings else ""
        raise InputError(path, error.strerror or str(error), allowed) from None
    try:
        _refuse_bulk(path, text)
        root = yaml.compose(text, Loader=_ComposeOnly)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise MatrixError(path, [Fault(line, column, error.problem or "not YAML")]) from None
    except yaml.YAMLError as error:
        raise MatrixError(path, [Fault(1, 1, str(error).splitlines()[0])]) from None
    except RecursionError:
        raise MatrixError(path, [Fault(1, 1, "nested too deeply")]) from None
    if root is None:
        raise MatrixError(path, [Fault(1, 1, "empty: a matrix needs `base` or `grids`")])
    faults = _Walk().faults(root)
    if faults:
        raise MatrixError(path, faults)
    if not isinstance(root, MappingNode):
        raise MatrixError(path, [fault_at(root, "expected a mapping at the top level")])
    return root


def _refuse_bulk(path: Path, text: str) -> None:
    """Raise MatrixError for a text that is too deep or too long to compose, and parse it no further than needed."""
    depth = count = 0
    for event in yaml.parse(text, Loader=_ComposeOnly):
        if isinstance(event, yaml.NodeEvent):
            count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            wrong = "nested too deeply" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} nodes"
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise MatrixError(path, [Fault(line, column, wrong)])


class _Walk:
    """One pass over all nodes that refuses the parts of YAML that a matrix must not use."""

    def __init__(self) -> None:
        self._count = 0
        self._ancestors: set[int] = set()
        self._faults: list[Fault] = []

    def faults(self, root: Node) -> list[Fault]:
        try:
            self._visit(root)
        except RecursionError:
            self._faults.append(fault_at(root, "nested too deeply"))
        return self._faults

    def _visit(self, node: Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            if self._count == MAX_NODES + 1:
                self._faults.append(fault_at(node, f"more than {MAX_NODES:,} nodes once aliases are expanded"))
            return
        if id(node) in self._ancestors:
            self._faults.append(fault_at(node, "an anchor that contains itself"))
            return
        if node.tag not in _PLAIN_TAGS:
            self._faults.append(fault_at(node, f"the tag {node.tag.rpartition(':')[2]!r} is not allowed here"))
            return
        self._ancestors.add(id(node))
        if isinstance(node, MappingNode):
            self._visit_mapping(node)
        elif isinstance(node, SequenceNode):
            for item in node.value:
                self._visit(item)
        self._ancestors.discard(id(node))

    def _visit_mapping(self, node: MappingNode) -> None:
        names: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._faults.append(fault_at(key, "a key must be a plain name"))
                continue
            if key.value in names:
                self._faults.append(fault_at(key, f"the key {key.value!r} stands here twice"))
            names.add(key.value)
            self._visit(value)
        if self._count <= MAX_NODES:
            self._merge(node, names)

    def _merge(self, node: MappingNode, names: set[str]) -> None:
        """Put the pairs of the mappings under `<<` in its place; a key of the mapping itself counts before theirs."""
        pairs = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.value != "<<" or key.style:
                pairs.append((key, value))
                continue
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(merged, MappingNode):
                    self._faults.append(fault_at(merged, "expected a mapping, or a list of mappings, to merge"))
                    continue
                for pair in merged.value:
                    if (name := str(pair[0].value)) not in names:
                        names.add(name)
                        pairs.append(pair)
        node.value = pairs
