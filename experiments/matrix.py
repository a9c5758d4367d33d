"""A matrix file: read, checked as a whole, and expanded into runs.

    title: …                       one line for reports
    base: {…}                      fields of every run
    variants: {name: {…}}          named bundles of fields
    grids:                         each entry is a product of its axes
      - variants: [wide, narrow]   an axis whose values are bundles
        objective: [ceb, vib]
        rho: {from: -1, to: 5, by: 0.25}
        zip: {epochs: [10, 20], batch: [64, 128]}
        exclude: ["objective = vib, rho > 3"]
        include: [{objective: xent}]
    seeds: [0, 1, 2]               one more axis of every grid
    evaluate: [clean, …]           benchmarks (`experiments.benchmarks`)

A later layer (base, then variants, then axes) overrides an earlier one. A field that an earlier layer set and the
chosen kind does not have (rho, once the objective is xent) falls away; set in the same layer as the kind it is
an error.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments import identity, selection, yaml12
from experiments.benchmarks import AnyBenchmark
from experiments.errors import Fault, InputError, MatrixError, expected
from experiments.fields import TAG, Path, Value, describe, flatten, read_assignments, read_field, schema
from experiments.spec import Run
from experiments.yaml12 import fault_at

MAX_RUNS = 200_000
_TOP = ("title", "base", "variants", "grids", "seeds", "evaluate")
_GRID_WORDS = ("variants", "zip", "exclude", "include")

_BASE, _VARIANT, _AXIS = range(3)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a matrix."""

    run: Run
    run_id: str
    axes: Mapping[str, Any]
    """The fields that vary in the matrix, under their short names, as far as this run has them."""

    @property
    def name(self) -> str:
        """`ceb rho=3 seed=0`: for people; unique within the matrix."""
        rest = [f"{key}={_shown(value)}" for key, value in self.axes.items() if key != "objective"]
        return " ".join([str(self.axes["objective"]), *rest])

    @cached_property
    def leaves(self) -> dict[Path, Any]:
        """Every field of the run by its path, for selections."""
        return dict(flatten(self.run))


@dataclass(frozen=True)
class Matrix:
    """A matrix, expanded. The order of runs is that of the file."""

    path: FilePath
    title: str
    runs: tuple[PlannedRun, ...]
    benchmarks: tuple[AnyBenchmark, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    def only(self, text: str | None) -> Matrix:
        """The matrix with the runs that a selection leaves. Raises InputError if it leaves none."""
        if not text:
            return self
        chosen = selection.parse(text)
        runs = tuple(run for run in self.runs if chosen.holds(run.leaves))
        if not runs:
            raise InputError(f"--only {text!r}", f"selects none of the {len(self.runs)} runs of {self.path}")
        return replace(self, runs=runs)


def load(path: FilePath) -> Matrix:
    """Read and expand a matrix file.

    Raises InputError if the file can't be read, MatrixError with every fault found otherwise.
    """
    return _Reader(path).matrix()


@dataclass(frozen=True)
class _Layered:
    value: Value
    layer: int


_Leaves = dict[Path, _Layered]


@dataclass(frozen=True)
class _Grid:
    """One grid, read but not yet multiplied out."""

    node: Node
    axes: list[list[dict[Path, Value]]]
    """The first axis are the variants."""
    excluded: list[selection.Selection]
    included: list[tuple[dict[Path, Value], Node]]


class _Reader:
    """Turns the composed nodes of one file into a Matrix, collecting faults on the way."""

    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self._assembler = _Assembler()

    def matrix(self) -> Matrix:
        root = yaml12.compose(self.path)
        top = self._keys(root, _TOP, "a matrix")
        title = self._title(top.get("title"))
        base = self._assignments(top.get("base"))
        variants = self._variants(top.get("variants"))
        benchmarks = self._benchmarks(top.get("evaluate"))
        seeds = self._axis(("seed",), "seeds", top["seeds"]) if "seeds" in top else [{}]
        grids = [self._grid(node, variants, seeds) for node in self._grids(top.get("grids"))]
        self._raise()
        runs: list[tuple[Run, Node]] = []
        for grid in grids or [_Grid(root, [[{}], seeds], [], [])]:
            runs += self._expand(grid, _layer(base, _BASE))
            self._raise()  # one grid's faults at a time: a fault in base would repeat in each
        planned = self._identified(runs)
        self._raise()
        return Matrix(self.path, title, planned, benchmarks)

    def _raise(self) -> None:
        if self.faults:
            raise MatrixError(self.path, self.faults)

    def _fault(self, node: Node, message: str) -> None:
        self.faults.append(fault_at(node, message))

    # --- the parts of the file ---

    def _keys(self, node: MappingNode, allowed: tuple[str, ...], what: str) -> dict[str, Node]:
        for key, _ in node.value:
            if key.value not in allowed:
                self._fault(key, f"unknown field {key.value!r} of {what}; {expected(allowed, key.value)}")
        return {key.value: value for key, value in node.value}

    def _title(self, node: Node | None) -> str:
        if node is None:
            return self.path.stem
        title = yaml12.plain(node)
        if not isinstance(title, str):
            self._fault(node, "title: expected text")
        return str(title)

    def _assignments(self, node: Node | None) -> dict[Path, Value]:
        return read_assignments(schema(Run), node, (), self.faults) if node is not None else {}

    def _variants(self, node: Node | None) -> dict[str, dict[Path, Value]]:
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self._fault(node, "variants: expected a mapping of name to fields")
            return {}
        return {key.value: self._assignments(value) for key, value in node.value}

    def _grids(self, node: Node | None) -> list[MappingNode]:
        if node is None:
            return []
        if not isinstance(node, SequenceNode) or not node.value:
            self._fault(node, "grids: expected a list with at least one grid")
            return []
        for item in node.value:
            if not isinstance(item, MappingNode):
                self._fault(item, "a grid: expected a mapping of axes")
        return [item for item in node.value if isinstance(item, MappingNode)]

    def _benchmarks(self, node: Node | None) -> tuple[AnyBenchmark, ...]:
        if node is None:
            return ()
        if not isinstance(node, SequenceNode):
            self._fault(node, "evaluate: expected a list of benchmarks")
            return ()
        found: dict[AnyBenchmark, Node] = {}
        for item in node.value:
            for benchmark in self._benchmark(item):
                if benchmark in found:
                    self._fault(item, "this benchmark stands here twice")
                found[benchmark] = item
        return tuple(found)

    def _benchmark(self, item: Node) -> list[AnyBenchmark]:
        """One entry: a name, or `name: {parameters}` with lists as axes."""
        tree = schema(AnyBenchmark)
        kinds = tree.sections[()].kinds
        name = item.value[0][0] if isinstance(item, MappingNode) and len(item.value) == 1 else item
        if not isinstance(name, ScalarNode):
            self._fault(item, "a benchmark: expected a name, or one name with its parameters")
            return []
        if name.value not in kinds:
            self._fault(name, f"unknown benchmark {name.value!r}; {expected(kinds, name.value)}")
            return []
        fields = tree.sections[()].fields(name.value)
        axes: list[list[tuple[str, Any]]] = []
        parameters = item.value[0][1] if isinstance(item, MappingNode) else None
        if isinstance(parameters, MappingNode):
            for key, node in parameters.value:
                if key.value not in fields:
                    self._fault(key, f"{name.value}: unknown parameter {key.value!r}; {expected(fields, key.value)}")
                    continue
                options = self._axis((key.value,), f"{name.value}.{key.value}", node, tree)
                axes.append([(key.value, value.value) for option in options for value in option.values()])
        elif parameters is not None and yaml12.plain(parameters) is not None:
            self._fault(parameters, f"{name.value}: expected a mapping of parameters")
        given = {key.value for key, _ in parameters.value} if isinstance(parameters, MappingNode) else set()
        for missing in (key for key, info in fields.items() if info.required and key not in given):
            self._fault(name, f"{name.value}: {missing} is missing: expected {describe(fields[missing].type)}")
            return []
        return [
            msgspec.convert({TAG: name.value, **dict(combination)}, AnyBenchmark)
            for combination in itertools.product(*axes)
        ]

    # --- axes ---

    def _axis(self, path: Path, name: str, node: Node, tree: Any = None) -> list[dict[Path, Value]]:
        """The values of one axis: a list, a range, or a single value."""
        tree = tree or schema(Run)
        if isinstance(node, MappingNode) and _is_range(node):
            return [read_field(tree, path, item, self.faults) for item in self._range(node, name)]
        if isinstance(node, SequenceNode):
            if not node.value:
                self._fault(node, f"{name}: an axis needs at least one value")
            return [read_field(tree, path, item, self.faults) for item in node.value]
        return [read_field(tree, path, node, self.faults)]

    def _range(self, node: MappingNode, name: str) -> Iterator[ScalarNode]:
        """The values of `{from, to, by}`, both ends included, stepped exactly in decimals."""
        bounds: dict[str, Decimal] = {}
        for key, value in node.value:
            number = yaml12.plain(value)
            if isinstance(number, bool) or not isinstance(number, int | float):
                self._fault(value, f"{name}: {key.value} of a range: expected a number, got {number!r}")
                return
            bounds[key.value] = Decimal(str(value.value))
        step, distance = bounds["by"], bounds["to"] - bounds["from"]
        if step == 0 or (distance and (distance > 0) != (step > 0)):
            self._fault(node, f"{name}: a range from {bounds['from']} to {bounds['to']} by {step} never ends")
            return
        count = int(distance / step) + 1
        if count > MAX_RUNS:
            self._fault(node, f"{name}: a range of {count:,} values; at most {MAX_RUNS:,} runs")
            return
        for index in range(count):
            text = str(bounds["from"] + index * step)
            yield ScalarNode("tag:yaml.org,2002:str", text, node.start_mark, node.end_mark)

    def _grid(
        self, node: MappingNode, variants: Mapping[str, dict[Path, Value]], seeds: list[dict[Path, Value]]
    ) -> _Grid:
        words = {str(key.value): value for key, value in node.value if key.value in _GRID_WORDS}
        axes = [self._bundles(words.get("variants"), variants)]
        axes += [self._named_axis(key, value) for key, value in node.value if key.value not in _GRID_WORDS]
        if "zip" in words:
            axes.append(self._zipped(words["zip"]))
        if not any(("seed",) in option for axis in axes for option in axis):
            axes.append(seeds)
        included = [
            ({**seed, **self._assignments(extra)}, extra)
            for extra in self._items(words.get("include"), "include: expected a list of mappings")
            for seed in seeds
        ]
        return _Grid(node, axes, self._exclusions(words.get("exclude")), included)

    def _expand(self, grid: _Grid, base: _Leaves) -> list[tuple[Run, Node]]:
        """The runs of one grid, in the order of its axes, the last one changing fastest."""
        found: list[Fault] = []
        runs: list[tuple[Run, Node]] = []
        if math.prod(len(axis) for axis in grid.axes) > MAX_RUNS:
            self._fault(grid.node, f"a grid of more than {MAX_RUNS:,} runs")
            return []
        for bundle, *options in itertools.product(*grid.axes):
            leaves = base | _layer(bundle, _VARIANT)
            for option in options:
                leaves |= _layer(option, _AXIS)
            run = self._assembler.run(leaves, grid.node, found)
            if run and not any(excluded.holds(dict(flatten(run))) for excluded in grid.excluded):
                runs.append((run, grid.node))
        for assignments, node in grid.included:
            if run := self._assembler.run(base | _layer(assignments, _AXIS), node, found):
                runs.append((run, node))
        # The same fault of many combinations is one fault, where it stands first.
        self.faults += {fault.message: fault for fault in reversed(found)}.values()
        return runs

    def _named_axis(self, key: Node, value: Node) -> list[dict[Path, Value]]:
        try:
            path = schema(Run).resolve(key.value)
        except LookupError as error:
            self._fault(key, str(error))
            return []
        return self._axis(path, key.value, value)

    def _bundles(self, node: Node | None, variants: Mapping[str, dict[Path, Value]]) -> list[dict[Path, Value]]:
        if node is None:
            return [{}]
        names = [node] if isinstance(node, ScalarNode) else self._items(node, "variants: expected a list of names")
        for name in names:
            if name.value not in variants:
                self._fault(name, f"unknown variant {name.value!r}; {expected(variants, str(name.value))}")
        return [variants[name.value] for name in names if name.value in variants]

    def _zipped(self, node: Node) -> list[dict[Path, Value]]:
        """Axes of equal length that go together, as one axis."""
        if not isinstance(node, MappingNode):
            self._fault(node, "zip: expected a mapping of axes")
            return []
        columns = [self._named_axis(key, value) for key, value in node.value]
        if len({len(column) for column in columns}) > 1:
            self._fault(
                node,
                f"zip: the axes have {', '.join(str(len(c)) for c in columns)} values; expected equally many",
            )
            return []
        return [{k: v for option in row for k, v in option.items()} for row in zip(*columns, strict=True)]

    def _exclusions(self, node: Node | None) -> list[selection.Selection]:
        found = []
        for item in self._items(node, "exclude: expected a list of selections"):
            try:
                found.append(selection.parse(str(yaml12.plain(item))))
            except InputError as error:
                self._fault(item, str(error))
        return found

    def _items(self, node: Node | None, otherwise: str) -> list[Any]:
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            self._fault(node, otherwise)
            return []
        return list(node.value)

    def _identified(self, runs: list[tuple[Run, Node]]) -> tuple[PlannedRun, ...]:
        seen: dict[str, Node] = {}
        for run, node in runs:
            run_id = identity.run_id(run)
            if run_id in seen:
                first = seen[run_id].start_mark.line + 1
                names = " ".join(f"{k}={_shown(v)}" for k, v in _axes(run, _varied([r for r, _ in runs])).items())
                self._fault(
                    node,
                    f"the run {names} stands here a second time; the first is in the grid at line {first}",
                )
                return ()
            seen[run_id] = node
        varied = _varied([run for run, _ in runs])
        return tuple(PlannedRun(run, run_id, _axes(run, varied)) for (run, _), run_id in zip(runs, seen, strict=True))


class _Assembler:
    """Builds runs from layered leaves; which leaves survive depends only on where they come from and on the tags."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[list[Path], list[tuple[Path, str]]]] = {}

    def run(self, leaves: _Leaves, node: Node, faults: list[Fault]) -> Run | None:
        tags = tuple((path, item.value.value) for path, item in leaves.items() if path[-1] == TAG)
        key = (tags, tuple((path, item.layer) for path, item in leaves.items()))
        if key not in self._known:
            self._known[key] = _surviving({p: i.layer for p, i in leaves.items()}, dict(tags))
        kept, problems = self._known[key]
        for path, message in problems:
            faults.append(fault_at(leaves[path].value.node if path in leaves else node, message))
        if problems:
            return None
        nested: dict[str, Any] = {}
        for path in kept:
            into = nested
            for part in path[:-1]:
                into = into.setdefault(part, {})
            into[path[-1]] = leaves[path].value.value
        return msgspec.convert(nested, Run)


def _surviving(layers: Mapping[Path, int], tags: Mapping[Path, Any]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Which leaves a run keeps, and what is wrong: (place, message)."""
    tree = schema(Run)
    kept: list[Path] = []
    problems: list[tuple[Path, str]] = []

    def visit(section_path: Path, mine: list[Path]) -> None:
        section = tree.sections[section_path]
        depth = len(section_path)
        tag_path = (*section_path, TAG)
        if section.tagged and tag_path not in layers:
            problems.append((mine[0], f"{tree.short(mine[0])} is set but no {'.'.join(section_path)} is chosen; "
                             f"{expected(section.kinds, '')}"))  # fmt: skip
            return
        tag = tags[tag_path] if section.tagged else ""
        fields = section.fields(tag)
        groups: dict[str, list[Path]] = {}
        for path in mine:
            groups.setdefault(path[depth], []).append(path)
        for name, paths in groups.items():
            if name in fields and (*section_path, name) in tree.sections:
                visit((*section_path, name), paths)
            elif name in fields or (name == TAG and section.tagged):
                kept.extend(paths)
            elif min(layers[path] for path in paths) >= layers[tag_path]:
                problems.append((paths[0], f"{tree.short(paths[0])}: {'.'.join(section_path)} {tag!r} has no such "
                                 f"field; {expected(fields, name) if fields else 'it has none'}"))  # fmt: skip
        for name, info in fields.items():
            if info.required and name not in groups:
                place = tag_path if section.tagged else ()
                owner = f"{'.'.join(section_path)} {tag!r}" if section.tagged else "every run"
                problems.append((place, f"{'.'.join((*section_path, name))} is missing; {owner} needs it"))

    visit((), list(layers))
    return kept, problems


def _layer(values: Mapping[Path, Value], layer: int) -> _Leaves:
    return {path: _Layered(value, layer) for path, value in values.items()}


def _is_range(node: MappingNode) -> bool:
    return {key.value for key, _ in node.value} == {"from", "to", "by"}


def _varied(runs: list[Run]) -> list[Path]:
    """The leaves that differ among the runs that have them, in the order of the spec; the objective always, and rho."""
    values: dict[Path, set[Any]] = {}
    for run in runs:
        for path, value in flatten(run):
            values.setdefault(path, set()).add(value)
    always = {("objective", TAG), ("objective", "rho")}
    order = list(schema(Run).leaves)
    varied = [path for path, found in values.items() if len(found) > 1 or path in always]
    return sorted(varied, key=order.index)


def _axes(run: Run, varied: list[Path]) -> dict[str, Any]:
    leaves = dict(flatten(run))
    return {schema(Run).short(path): leaves[path] for path in varied if path in leaves}


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
