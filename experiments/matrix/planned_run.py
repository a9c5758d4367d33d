"""An expanded matrix and its runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from msgspec import structs

from experiments.benchmarks import AnyBenchmark, format_eps
from experiments.errors import InputError, expected
from experiments.matrix import selection
from experiments.matrix.part_references import OwnParts
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.resources_section import Rules
from experiments.matrix.spec_fields import Path, Schema, flatten
from experiments.matrix.stated_claim import StatedClaim
from experiments.resources import Resources, Stage
from experiments.spec import Run


@dataclass(frozen=True)
class PlannedRun:
    """One run of a matrix."""

    run: Run
    run_id: str
    name: str
    """`ceb rho=3 seed=0`: for people; unique within the matrix."""
    axes: Mapping[str, Any]
    """The fields that tell the run from the matrix's others, by short name. It has only those that its kinds have."""
    benchmarks: tuple[AnyBenchmark, ...] = ()
    """The benchmarks that it is evaluated on."""
    spelled: Run | None = None
    """The run with its data set called as in the matrix, where the spec calls it otherwise (`own_dataset.in_spec`)."""

    @cached_property
    def leaves(self) -> dict[Path, Any]:
        """Return every field of the run by its path, for selections."""
        return dict(flatten(self.spelled or self.run))


@dataclass(frozen=True)
class Matrix:
    """A matrix with its runs in the order of the file."""

    path: FilePath
    title: str
    runs: tuple[PlannedRun, ...]
    benchmarks: tuple[AnyBenchmark, ...]
    """Every benchmark that some run is evaluated on."""
    rules: Rules = field(default_factory=Rules)
    report: ReportSpec = field(default_factory=ReportSpec)
    parts: OwnParts = field(default_factory=OwnParts)
    """The parts of one's own that it names."""
    claims: Mapping[str, StatedClaim] = field(default_factory=dict)
    """By name, in the order of the file."""
    claim_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The seeds of both sides of each claim, whatever a selection leaves out."""
    left_out: tuple[PlannedRun, ...] = ()
    """The runs of the file that `select` left out."""

    @property
    def name(self) -> str:
        return self.path.stem

    def resources(self, run: PlannedRun, stage: Stage) -> Resources:
        """Return the resources that one stage of one run requests."""
        # Flattening a run is slow: not without a rule that looks at the leaves.
        return self.rules.resources(run.leaves if self.rules.overrides else {}, stage)

    def select(self, text: str | None) -> Matrix:
        """Return the matrix with the selected runs alone. Raises InputError if the selection matches none."""
        if not text:
            return self
        tree = self.parts.schema
        selected = selection.parse(text, tree)
        runs = tuple(run for run in self.runs if selected.matches(run.leaves))
        if not runs:
            wrong = f"selects none of the {len(self.runs)} runs of {self.path}"
            raise InputError(f"--only {text!r}", wrong, _existing_values(selected, self.runs, tree))
        chosen = {run.run_id for run in runs}
        return replace(
            self, runs=runs, left_out=(*self.left_out, *(run for run in self.runs if run.run_id not in chosen))
        )

    def leave_out(self, evaluations: Collection[tuple[str, AnyBenchmark]]) -> Matrix:
        """Return the matrix without some benchmarks, given each with the id of the run."""
        runs = tuple(
            replace(run, benchmarks=tuple(b for b in run.benchmarks if (run.run_id, b) not in evaluations))
            for run in self.runs
        )
        remaining = {benchmark for run in runs for benchmark in run.benchmarks}
        return replace(self, runs=runs, benchmarks=tuple(b for b in self.benchmarks if b in remaining))


def seed_groups(runs: Iterable[PlannedRun]) -> list[list[PlannedRun]]:
    """Return the runs in groups that differ in seed only, in the order of the matrix."""
    groups: dict[tuple[tuple[str, Any], ...], list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(tuple((key, value) for key, value in run.axes.items() if key != "seed"), []).append(run)
    return list(groups.values())


def with_data(run: Run, name: str) -> Run:
    """Return a run with its data set called `name`."""
    return run if run.data.name == name else structs.replace(run, data=structs.replace(run.data, name=name))


def format_value(value: Any) -> str:
    """Return a value as run names spell it: `0.3`, `8/255`, `500,1000` for a list, the beginning of a digest.

    A number keeps every digit it needs to be read back as itself, so that two values never look like one.
    """
    if isinstance(value, str) and value.startswith("sha256:"):
        return value[:15]
    if isinstance(value, tuple):
        return ",".join(map(format_value, value)) or "none"
    return format_eps(value) if isinstance(value, float) else str(value)


def _existing_values(selected: selection.Selection, runs: Iterable[PlannedRun], tree: Schema) -> str:
    """Return the values that the runs have in the first condition that none satisfies: `rho is 5, 3, 1 there`."""
    leaves_by_run = [run.leaves for run in runs]
    for condition in selected.conditions:
        if not any(condition.matches(leaves) for leaves in leaves_by_run):
            values = dict.fromkeys(leaves[condition.path] for leaves in leaves_by_run if condition.path in leaves)
            name = tree.short(condition.path)
            if not values:
                return f"none of them has {name}"
            if any(isinstance(value, str) for value in values):
                return f"{name}: {expected(map(format_value, values), format_value(condition.values[0]))}"
            return f"{name} is {', '.join(map(format_value, values))} there"
    return ""
