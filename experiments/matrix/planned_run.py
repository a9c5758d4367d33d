"""A matrix and its runs, expanded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from experiments.benchmarks import AnyBenchmark, format_eps
from experiments.errors import InputError, expected
from experiments.matrix import selection
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.resources_section import Rules
from experiments.matrix.spec_fields import Path, flatten, schema
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
    """The fields that tell it from the matrix's other runs, under their short names, as far as it has them."""
    benchmarks: tuple[AnyBenchmark, ...] = ()
    """What it is evaluated on."""

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
    """Every benchmark that some run is evaluated on."""
    rules: Rules = field(default_factory=Rules)
    report: ReportSpec = field(default_factory=ReportSpec)

    @property
    def name(self) -> str:
        return self.path.stem

    def resources(self, run: PlannedRun, stage: Stage) -> Resources:
        """What one stage of one run asks of the cluster."""
        return self.rules.resources(run.leaves, stage) if self.rules.overrides else self.rules.resources({}, stage)

    def select(self, text: str | None) -> Matrix:
        """The matrix with the runs that a selection leaves. Raises InputError if it leaves none."""
        if not text:
            return self
        chosen = selection.parse(text)
        runs = tuple(run for run in self.runs if chosen.matches(run.leaves))
        if not runs:
            wrong = f"selects none of the {len(self.runs)} runs of {self.path}"
            raise InputError(f"--only {text!r}", wrong, _values_there(chosen, self.runs))
        return replace(self, runs=runs)


def format_value(value: Any) -> str:
    """Return a value as a name spells it: `0.3`, `8/255`, `500,1000` for a list, the beginning of a digest.

    A number keeps every digit it needs to be read back as itself, so that two values never look like one.
    """
    if isinstance(value, str) and value.startswith("sha256:"):
        return value[:15]
    if isinstance(value, tuple):
        return ",".join(map(format_value, value)) or "none"
    return format_eps(value) if isinstance(value, float) else str(value)


def _values_there(chosen: selection.Selection, runs: Iterable[PlannedRun]) -> str:
    """Of the first condition that no run satisfies, which values there are: `rho is 5, 3, 1 there`."""
    every = [run.leaves for run in runs]
    for condition in chosen.conditions:
        if not any(condition.matches(leaves) for leaves in every):
            values = dict.fromkeys(leaves[condition.path] for leaves in every if condition.path in leaves)
            name = schema(Run).short(condition.path)
            if not values:
                return f"none of them has {name}"
            if any(isinstance(value, str) for value in values):
                return f"{name}: {expected(map(format_value, values), format_value(condition.values[0]))}"
            return f"{name} is {', '.join(map(format_value, values))} there"
    return ""
