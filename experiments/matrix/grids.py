"""Read the `grids` of a matrix, products of axes, and multiply them out into runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import Fault, expected
from experiments.matrix import samples, selection
from experiments.matrix.axis_values import MAX_RUNS, read_axis
from experiments.matrix.layering import AXIS, VARIANT, Assembler, LayeredLeaves, tag_layer
from experiments.matrix.spec_fields import Path, Schema, Value, flatten, read_assignments, set_twice
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Run

_WORDS = ("variants", "zip", "sample", "exclude", "include")

Option = dict[Path, Value]
"""One value of an axis: the leaves that it sets."""


@dataclass(frozen=True)
class Grid:
    """One grid before it is multiplied out."""

    node: Node
    axes: Sequence[Sequence[Option]]
    """The first axis are the variants."""
    excluded: Sequence[selection.Selection] = ()
    included: Sequence[tuple[Option, Node]] = ()

    @property
    def size(self) -> int:
        """Return an upper bound of the number of its runs."""
        return math.prod(len(axis) for axis in self.axes) + len(self.included)

    @property
    def axis_paths(self) -> set[Path]:
        """Return the fields that are axes of their own, not parts of a variant."""
        return {path for axis in self.axes[1:] for option in axis for path in option}


class GridReader:
    """Reads grids and adds their faults to `faults`."""

    def __init__(
        self, tree: Schema, variants: Mapping[str, Option], seeds: Sequence[Option], faults: list[Fault]
    ) -> None:
        self._tree = tree
        self._variants = variants
        self._seeds = seeds
        self._faults = faults

    def read(self, node: Node | None) -> list[Grid]:
        """Return every grid of the list, none without a list."""
        grids = []
        for item in self._items(node, "grids: expected a list with at least one grid", may_be_empty=False):
            if isinstance(item, MappingNode):
                grids.append(self._grid(item))
            else:
                self._fault(item, "a grid: expected a mapping of axes")
        return grids

    def _fault(self, node: Node, message: str) -> None:
        self._faults.append(fault_at(node, message))

    def _grid(self, node: MappingNode) -> Grid:
        words = {str(key.value): value for key, value in node.value if key.value in _WORDS}
        axes = [self._axis(key, value) for key, value in node.value if key.value not in _WORDS]
        zipped = self._zipped(words["zip"]) if "zip" in words else []
        sampled = (
            [self._axis(*pair) for pair in samples.read(words["sample"], self._faults)] if "sample" in words else []
        )
        self._refuse_repeated([*axes, *zipped, *sampled])
        axes = [self._variant_axis(words.get("variants")), *axes]
        axes += [_joined(columns) for columns in (zipped, sampled) if columns]
        if not any(("seed",) in option for axis in axes for option in axis):
            axes.append(list(self._seeds))
        return Grid(node, axes, self._exclusions(words.get("exclude")), self._inclusions(words.get("include")))

    def _refuse_repeated(self, axes: Iterable[Sequence[Option]]) -> None:
        """Add a fault for each field that two axes set, under any of its names: one of its values would be lost."""
        earlier: dict[Path, Value] = {}
        for axis in axes:
            values = {path: value for option in reversed(axis) for path, value in option.items()}
            repeated = values.keys() & earlier.keys()
            self._faults += [set_twice(self._tree, path, earlier[path], values[path]) for path in repeated]
            earlier = values | earlier

    def _axis(self, key: Node, value: Node) -> list[Option]:
        tree = self._tree
        try:
            path = tree.resolve(key.value)
        except LookupError as error:
            allowed = tree.hint(key.value) or expected((*tree.names(), *_WORDS), key.value)
            self._fault(key, str(error) if "could be any" in str(error) else f"unknown field {key.value!r}; {allowed}")
            return []
        return read_axis(tree, path, key.value, value, self._faults)

    def _variant_axis(self, node: Node | None) -> list[Option]:
        if node is None:
            return [{}]
        names = [node] if isinstance(node, ScalarNode) else self._items(node, "variants: expected a list of names")
        for name in names:
            if name.value not in self._variants:
                self._fault(name, f"unknown variant {name.value!r}; {expected(self._variants, str(name.value))}")
        return [self._variants[name.value] for name in names if name.value in self._variants]

    def _zipped(self, node: Node) -> list[list[Option]]:
        """Return the axes of a `zip`, which must have equally many values."""
        if not isinstance(node, MappingNode) or not node.value:
            self._fault(node, "zip: expected a mapping of axes")
            return []
        columns = [self._axis(key, value) for key, value in node.value]
        if len({len(column) for column in columns}) > 1:
            sizes = ", ".join(str(len(column)) for column in columns)
            self._fault(node, f"zip: the axes have {sizes} values; expected equally many")
        return columns

    def _exclusions(self, node: Node | None) -> list[selection.Selection]:
        items = self._items(node, "exclude: expected a list of selections")
        return [selected for item in items if (selected := selection.read(item, self._faults, self._tree)) is not None]

    def _inclusions(self, node: Node | None) -> list[tuple[Option, Node]]:
        return [
            ({**seed, **extra}, item)
            for item in self._items(node, "include: expected a list of mappings")
            for extra in [read_assignments(self._tree, item, (), self._faults)]
            for seed in self._seeds
        ]

    def _items(self, node: Node | None, fault: str, *, may_be_empty: bool = True) -> list[Any]:
        if node is None:
            return []
        if not isinstance(node, SequenceNode) or not (node.value or may_be_empty):
            self._fault(node, fault)
            return []
        return list(node.value)


def _joined(columns: Sequence[Sequence[Option]]) -> list[Option]:
    """Return axes whose values go together as one axis; unequal lengths are a fault already."""
    return [{path: value for option in row for path, value in option.items()} for row in zip(*columns, strict=False)]


def expand(grid: Grid, base: LayeredLeaves, assembler: Assembler, faults: list[Fault]) -> list[tuple[Run, Node]]:
    """Return the runs of one grid, its last axis changing fastest, then those that it includes."""
    if grid.size > MAX_RUNS:
        faults.append(fault_at(grid.node, f"a grid of more than {MAX_RUNS:,} runs"))
        return []
    runs: list[tuple[Run, Node]] = []
    variants, *axes = grid.axes
    layers = [[tag_layer(option, AXIS) for option in axis] for axis in axes]
    for variant in variants:
        start = base | tag_layer(variant, VARIANT)
        for options in itertools.product(*layers):
            leaves = start.copy()
            for option in options:
                leaves.update(option)
            run = assembler.run(leaves, grid.node, faults)
            if run and not (grid.excluded and _is_excluded(grid, run)):
                runs.append((run, grid.node))
    for assignments, node in grid.included:
        if run := assembler.run(base | tag_layer(assignments, AXIS), node, faults):
            runs.append((run, node))
    return runs


def _is_excluded(grid: Grid, run: Run) -> bool:
    leaves = dict(flatten(run))
    return any(excluded.matches(leaves) for excluded in grid.excluded)
