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
    resources: {train: {…}, …}     what a stage asks of the cluster (`experiments.matrix.resources_section`)
    report: {…}                    which table and figures (`experiments.matrix.report_section`)

`experiments/README.md` explains the language by example; what overrides what, `experiments.matrix.layering`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node

from experiments import identity
from experiments.errors import Fault, MatrixError, expected
from experiments.matrix import evaluate_section, resources_section, run_axes, yaml_nodes
from experiments.matrix.axis_values import MAX_RUNS, read_axis
from experiments.matrix.grids import Grid, GridReader, Option, expand
from experiments.matrix.layering import BASE, Assembler, tag_layer
from experiments.matrix.planned_run import Matrix, PlannedRun, format_value
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.spec_fields import Path, read_assignments, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Run

TOP = ("title", "base", "variants", "grids", "seeds", "evaluate", "resources", "report")
"""The fields of a matrix file."""


def load(path: FilePath) -> Matrix:
    """Read and expand a matrix file.

    Raises InputError if the file can't be read, MatrixError with every fault found otherwise.
    """
    return _Reader(path).matrix()


def distinct_networks(folder: FilePath) -> list[Run]:
    """One run for each distinct network, data set and precision of the matrices in a folder, in order of file."""
    found: dict[Any, Run] = {}
    for path in sorted(folder.glob("[!.]*.yaml")):
        for planned in load(path).runs:
            run = planned.run
            found.setdefault((run.data.name, run.network, run.precision), run)
    return list(found.values())


def _names(axes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of runs that have these axes. Digests that begin alike are spelled in full."""
    short = [_name(values) for values in axes]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else _name(values, in_full=True) for name, values in zip(short, axes, strict=True)
    ]


def _name(axes: Mapping[str, Any], *, in_full: bool = False) -> str:
    texts = {key: str(v) if in_full and isinstance(v, str) else format_value(v) for key, v in axes.items()}
    return " ".join([texts.pop("objective"), *(f"{key}={text}" for key, text in texts.items())])


class _Reader:
    """Turns the composed nodes of one file into a Matrix, collecting faults on the way."""

    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.faults: list[Fault] = []

    def matrix(self) -> Matrix:
        root = yaml_nodes.compose(self.path)
        top = self._keys(root)
        title = self._title(top.get("title"))
        base = self._fields(top.get("base"))
        variants = self._variants(top.get("variants"))
        seeds = read_axis(schema(Run), ("seed",), "seeds", top["seeds"], self.faults) if "seeds" in top else [{}]
        grids = GridReader(variants, seeds, self.faults).read(top.get("grids")) or [Grid(root, [[{}], seeds])]
        sound = not self.faults  # else the runs would be others than those meant
        asked = evaluate_section.read(top.get("evaluate"), self.faults)
        rules = resources_section.read(top.get("resources"), self.faults)
        report = self._report(top.get("report"))
        runs = self._runs(root, grids, base) if sound else []
        every, mine = evaluate_section.resolve(asked, runs, self.faults) if runs else ((), [])
        self._raise()
        if any(mine):
            runs = [replace(run, benchmarks=own) for run, own in zip(runs, mine, strict=True)]
        return Matrix(self.path, title, tuple(runs), every, rules, report)

    def _raise(self) -> None:
        if self.faults:
            raise MatrixError(self.path, self.faults)

    def _fault(self, node: Node, message: str) -> None:
        self.faults.append(fault_at(node, message))

    def _keys(self, node: MappingNode) -> dict[str, Node]:
        for key, _ in node.value:
            if key.value not in TOP:
                self._fault(key, f"unknown field {key.value!r} of a matrix; {expected(TOP, key.value)}")
        return {key.value: value for key, value in node.value}

    def _title(self, node: Node | None) -> str:
        if node is None:
            return self.path.stem
        title = yaml_nodes.plain(node)
        if not isinstance(title, str):
            self._fault(node, "title: expected text")
        return str(title)

    def _fields(self, node: Node | None) -> Option:
        return read_assignments(schema(Run), node, (), self.faults) if node is not None else {}

    def _variants(self, node: Node | None) -> dict[str, Option]:
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self._fault(node, "variants: expected a mapping of name to fields")
            return {}
        return {key.value: self._fields(value) for key, value in node.value}

    def _report(self, node: Node | None) -> ReportSpec:
        if node is None:
            return ReportSpec()
        values = read_assignments(schema(ReportSpec), node, (), self.faults)
        return msgspec.convert({path[0]: item.value for path, item in values.items()}, ReportSpec)

    def _runs(self, root: Node, grids: list[Grid], base: Option) -> list[PlannedRun]:
        if sum(grid.size for grid in grids) > MAX_RUNS and len(grids) > 1:
            self._fault(root, f"the grids have more than {MAX_RUNS:,} runs together")
            return []
        wrong: list[Fault] = []
        found: list[tuple[Run, Node]] = []
        assembler, leaves = Assembler(), tag_layer(base, BASE)
        for grid in grids:
            found += expand(grid, leaves, assembler, wrong)
        if wrong:  # a fault in base is one fault, however many grids meet it
            self.faults += {fault.message: fault for fault in reversed(wrong)}.values()
            return []
        if not found:
            self._fault(root, "the matrix has no runs: everything is excluded")
            return []
        return self._identified(found, {path for grid in grids for path in grid.named})

    def _identified(self, runs: list[tuple[Run, Node]], named: set[Path]) -> list[PlannedRun]:
        """The runs with their identities and axes; a run that stands there twice is a fault."""
        axes = run_axes.label_axes([run for run, _ in runs], named)
        seen: dict[str, Node] = {}
        planned = []
        for (run, node), name, mine in zip(runs, _names(axes), axes, strict=True):
            run_id = identity.run_id(run)
            if run_id in seen:
                first = seen[run_id].start_mark.line + 1
                self._fault(
                    node, f"the run {_name(mine)} stands here a second time; the first is in the grid at line {first}"
                )
            seen[run_id] = node
            planned.append(PlannedRun(run, run_id, name, mine))
        return planned
