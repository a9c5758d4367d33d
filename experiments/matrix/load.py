"""Read a matrix file, check it as a whole, and expand it into runs.

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
    resources: {train: {…}, …}     requests of each stage to the cluster (`experiments.matrix.resources_section`)
    report: {…}                    the table and figures (`experiments.matrix.report_section`)
    claims: {name: {…}}            what the results are to decide (`experiments.matrix.claims_section`)

`experiments/README.md` explains the language by example, `experiments.matrix.layering` the order of overrides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import msgspec
from yaml.nodes import MappingNode, Node

from experiments import identity, own_dataset
from experiments.errors import Fault, MatrixError, expected
from experiments.matrix import (
    claims_section,
    evaluate_section,
    part_references,
    resources_section,
    run_axes,
    yaml_nodes,
)
from experiments.matrix.axis_values import MAX_RUNS, read_axis
from experiments.matrix.grids import Grid, GridReader, Option, expand
from experiments.matrix.layering import BASE, Assembler, tag_layer
from experiments.matrix.part_references import OwnParts
from experiments.matrix.planned_run import Matrix, PlannedRun, format_value, with_data
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.spec_fields import Path, read_assignments, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Run

SECTIONS = ("title", "base", "variants", "grids", "seeds", "evaluate", "resources", "report", "claims")
"""The sections of a matrix file."""


def load(path: FilePath) -> Matrix:
    """Read and expand a matrix file.

    Raises InputError if the file can't be read, else MatrixError with all its faults.
    """
    return _Reader(path).matrix()


def read_parts(path: FilePath) -> OwnParts:
    """Read the parts of one's own that a matrix file names, whatever else is wrong with it.

    Raises InputError if the file can't be read, else MatrixError with the faults of the parts.
    """
    reader = _Reader(path)
    return reader.read_parts(reader.sections(yaml_nodes.compose(path)))


class _Reader:
    """Turns the nodes of one file into a Matrix. It collects faults, so that a user sees all of them at once."""

    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.faults: list[Fault] = []

    def matrix(self) -> Matrix:
        root = yaml_nodes.compose(self.path)
        sections = self.sections(root)
        title = self._title(sections.get("title"))
        self.parts = self.read_parts(sections)
        self.tree = self.parts.schema
        base = self._fields(sections.get("base"))
        variants = self._variants(sections.get("variants"))
        seeds = self._seeds(sections.get("seeds"))
        # A matrix without grids is one run for each seed.
        reader = GridReader(self.tree, variants, seeds, self.faults)
        grids = reader.read(sections.get("grids")) or [Grid(root, [[{}], seeds])]
        # With a fault so far, the runs would be others than those that the author means.
        is_expandable = not self.faults
        entries = evaluate_section.read(sections.get("evaluate"), self.faults, self.tree, self.parts)
        rules = resources_section.read(sections.get("resources"), self.faults, self.tree)
        report = self._report(sections.get("report"))
        claims = claims_section.read(sections.get("claims"), self.faults)
        runs = self._expand(root, base, grids) if is_expandable else []
        benchmarks, by_run = evaluate_section.resolve(entries, runs, self.faults) if runs else ((), [])
        if any(by_run):
            runs = [replace(run, benchmarks=own) for run, own in zip(runs, by_run, strict=True)]
        claim_seeds = {} if self.faults else claims_section.check(claims, runs, self.tree, self.faults)
        if self.faults:
            raise MatrixError(self.path, self.faults)
        stated = {name: claim for name, (claim, _) in claims.items()}
        return Matrix(self.path, title, tuple(runs), benchmarks, rules, report, self.parts, stated, claim_seeds)

    def _fault(self, node: Node, message: str) -> None:
        self.faults.append(fault_at(node, message))

    def sections(self, root: MappingNode) -> dict[str, Node]:
        """Return the sections of the file by their names."""
        for key, _ in root.value:
            if key.value not in SECTIONS:
                tree = schema(Run)
                hint = tree.hint(key.value)
                allowed = expected(SECTIONS, key.value)
                if hint or key.value in tree.unique_names():
                    allowed = "write fields of runs under `base`" + f"; {hint}" * bool(hint)
                self._fault(key, f"unknown field {key.value!r} of a matrix; {allowed}")
        return {key.value: value for key, value in root.value}

    def read_parts(self, sections: Mapping[str, Node]) -> OwnParts:
        """Return the parts of one's own, which decide the fields that runs have. Raises MatrixError for faults in them:
        without its parts, the matrix would seem to have further faults."""
        faults_before = len(self.faults)
        parts = part_references.read(sections, self.path.parent, self.faults)
        if len(self.faults) > faults_before:
            raise MatrixError(self.path, self.faults)
        return parts

    def _title(self, node: Node | None) -> str:
        if node is None:
            return self.path.stem
        title = yaml_nodes.plain(node)
        if not isinstance(title, str):
            self._fault(node, "title: expected text")
        return str(title)

    def _fields(self, node: Node | None) -> Option:
        return read_assignments(self.tree, node, (), self.faults) if node is not None else {}

    def _variants(self, node: Node | None) -> dict[str, Option]:
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self._fault(node, "variants: expected a mapping of name to fields")
            return {}
        return {key.value: self._fields(value) for key, value in node.value}

    def _seeds(self, node: Node | None) -> list[Option]:
        return read_axis(self.tree, ("seed",), "seeds", node, self.faults) if node is not None else [{}]

    def _report(self, node: Node | None) -> ReportSpec:
        if node is None:
            return ReportSpec()
        values = read_assignments(schema(ReportSpec), node, (), self.faults)
        return msgspec.convert({path[0]: item.value for path, item in values.items()}, ReportSpec)

    def _expand(self, root: Node, base: Option, grids: list[Grid]) -> list[PlannedRun]:
        if sum(grid.size for grid in grids) > MAX_RUNS and len(grids) > 1:
            self._fault(root, f"the grids have more than {MAX_RUNS:,} runs together")
            return []
        faults: list[Fault] = []
        runs: list[tuple[Run, Node]] = []
        assembler, leaves = Assembler(self.tree, self.parts), tag_layer(base, BASE)
        for grid in grids:
            runs += expand(grid, leaves, assembler, faults)
        if faults:
            # Many combinations and grids meet the same fault: it is named once, at its first place.
            self.faults += {fault.message: fault for fault in reversed(faults)}.values()
            return []
        if not runs:
            self._fault(root, "the matrix has no runs: everything is excluded")
            return []
        return self._label(runs, {path for grid in grids for path in grid.axis_paths})

    def _label(self, runs: list[tuple[Run, Node]], axis_paths: set[Path]) -> list[PlannedRun]:
        """Return the runs with their identities, names and axes; the second of two equal runs is a fault."""
        labels = run_axes.label_axes([run for run, _ in runs], axis_paths, self.tree)
        nodes: dict[str, Node] = {}
        planned = []
        for (spelled, node), name, axes in zip(runs, _names(labels), labels, strict=True):
            run = with_data(spelled, own_dataset.in_spec(spelled.data.name))
            run_id = identity.run_id(run)
            if run_id in nodes:
                first = f"the first is in the grid at line {nodes[run_id].start_mark.line + 1}"
                self._fault(node, f"the run {_name(axes)} stands here a second time; {first}")
            nodes[run_id] = node
            planned.append(PlannedRun(run, run_id, name, axes, spelled=spelled))
        return planned


def _names(labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each run from its axes. Digests that begin alike are spelled in full."""
    names = [_name(axes) for axes in labels]
    counts = Counter(names)
    return [name if counts[name] == 1 else _name(axes, in_full=True) for name, axes in zip(names, labels, strict=True)]


def _name(axes: Mapping[str, Any], *, in_full: bool = False) -> str:
    texts = {key: value if in_full and isinstance(value, str) else format_value(value) for key, value in axes.items()}
    return " ".join([texts.pop("objective"), *(f"{key}={text}" for key, text in texts.items())])


def distinct_networks(folder: FilePath) -> list[Run]:
    """Return a run for each combination of network, data set and precision in a folder's matrices, in their order."""
    runs: dict[Any, Run] = {}
    for path in sorted(folder.glob("[!.]*.yaml")):
        for planned in load(path).runs:
            run = planned.run
            runs.setdefault((run.data.name, run.network, run.precision), run)
    return list(runs.values())
