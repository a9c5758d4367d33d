"""Read the `evaluate` section of a matrix: benchmarks, their parameters, and the runs that each is for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments import datasets
from experiments.benchmarks import (
    WITHOUT_DLR,
    WITHOUT_SQUARE,
    AnyBenchmark,
    Attack,
    AutoAttack,
    Benchmark,
    CleanHoldout,
    Pgd,
    format_eps,
    largest_eps,
    min_classes,
    min_image_size,
    pipelines,
)
from experiments.datasets import DatasetInfo
from experiments.errors import Fault, expected
from experiments.matrix import selection, yaml_nodes
from experiments.matrix.axis_values import read_axis
from experiments.matrix.part_references import BENCHMARK, OwnParts
from experiments.matrix.planned_run import PlannedRun
from experiments.matrix.spec_fields import FROM, TAG, Schema, describe_type, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Part, Xent

ONLY, SOURCE = "only", "source"


@dataclass(frozen=True)
class BenchmarkEntry:
    """One entry of the list. Its `source` is a selection until the runs are known."""

    node: Node
    name: str
    kind: type[Benchmark]
    combinations: tuple[dict[str, Any], ...]
    only: selection.Selection | None
    source: tuple[selection.Selection, Node] | None


def read(node: Node | None, faults: list[Fault], runs: Schema, parts: OwnParts) -> list[BenchmarkEntry]:
    """Return every entry of the section and add its faults to `faults`; `runs` has the fields that select runs."""
    if node is None:
        return []
    if not isinstance(node, SequenceNode):
        faults.append(fault_at(node, "evaluate: expected a list of benchmarks"))
        return []
    reader = _EntryReader(parts, runs, faults)
    return [entry for item in node.value if (entry := reader.entry(item))]


def resolve(
    entries: Sequence[BenchmarkEntry], runs: Sequence[PlannedRun], faults: list[Fault]
) -> tuple[tuple[AnyBenchmark, ...], list[tuple[AnyBenchmark, ...]]]:
    """Return all benchmarks of the matrix and those of each run, both in the order of the file."""
    bound = [(entry, _benchmarks(entry, runs, faults)) for entry in entries]
    for entry, benchmarks in bound:
        _check_data(entry, benchmarks, runs, faults)
    matrix_benchmarks = tuple(dict.fromkeys(benchmark for _, benchmarks in bound for benchmark in benchmarks))
    if all(entry.only is None and not any(map(_source, benchmarks)) for entry, benchmarks in bound):
        _refuse_repeated(bound, faults)
        return matrix_benchmarks, [matrix_benchmarks] * len(runs)
    # Equal tuples of many runs are one object, which saves memory and comparisons.
    shared: dict[tuple[AnyBenchmark, ...], tuple[AnyBenchmark, ...]] = {}
    by_run = []
    for run in runs:
        pairs = [
            (entry, benchmark)
            for entry, benchmarks in bound
            if _is_for_run(entry, run)
            for benchmark in benchmarks
            # Examples of a run are no transfer attack on this run itself.
            if _source(benchmark) != run.run_id
        ]
        run_benchmarks = tuple(dict.fromkeys(benchmark for _, benchmark in pairs))
        if len(run_benchmarks) < len(pairs):
            _refuse_repeated([(entry, [benchmark]) for entry, benchmark in pairs], faults)
        by_run.append(shared.setdefault(run_benchmarks, run_benchmarks))
    return matrix_benchmarks, by_run


def _is_for_run(entry: BenchmarkEntry, run: PlannedRun) -> bool:
    return entry.only is None or entry.only.matches(run.leaves)


def _source(benchmark: AnyBenchmark) -> str:
    """Return the run that an attack is made on, '' if it is made on the run that it tests."""
    return str(getattr(benchmark, SOURCE, ""))


def _refuse_repeated(bound: Sequence[tuple[BenchmarkEntry, Sequence[AnyBenchmark]]], faults: list[Fault]) -> None:
    earlier: set[AnyBenchmark] = set()
    for entry, benchmarks in bound:
        if earlier.intersection(benchmarks) or len(set(benchmarks)) < len(benchmarks):
            faults.append(fault_at(entry.node, "this benchmark stands here twice for the same runs"))
        earlier.update(benchmarks)


def _check_data(
    entry: BenchmarkEntry, benchmarks: Sequence[AnyBenchmark], runs: Sequence[PlannedRun], faults: list[Fault]
) -> None:
    """Add a fault for each data set that the benchmark is not for or where its parameters have no meaning."""

    def fault(text: str) -> None:
        faults.append(fault_at(entry.node, f"{entry.name}: {text}"))

    matching = [run for run in runs if _is_for_run(entry, run)]
    if runs and not matching:
        fault("only: it leaves none of the runs")
    for name in sorted({run.run.data.name for run in matching}):
        info = datasets.info(name)
        if not _is_for_data(entry.kind, name):
            kinds = schema(AnyBenchmark).sections[()].kinds.items()
            allowed = [tag for tag, kind in kinds if issubclass(kind, Benchmark) and _is_for_data(kind, name)]
            wrong = f"it is for {', '.join(entry.kind.data_sets)}, not for {name}"
            fault(f"{wrong}; allowed there: {', '.join(allowed)}")
        for benchmark in benchmarks:
            for wrong in (*_image_faults(benchmark, info), *_attack_faults(benchmark, info)):
                fault(wrong)
    if issubclass(entry.kind, CleanHoldout) and not all(run.run.data.holdout for run in matching):
        fault("nothing is held out of training for it; set data.holdout to how many images")
    sampled = any(isinstance(b, AutoAttack) and b.version == "rand" for b in benchmarks)
    if sampled and any(isinstance(run.run.objective, Xent) for run in matching):
        fault("version: rand attacks sampled z; xent has none, only: objective != xent")


def _is_for_data(kind: type[Benchmark], data_set: str) -> bool:
    return not kind.data_sets or data_set in kind.data_sets


def _image_faults(benchmark: AnyBenchmark, info: DatasetInfo) -> Iterator[str]:
    """Yield the faults of a benchmark whose images don't exist for the data set."""
    pipeline = getattr(benchmark, "pipeline", None)
    if pipeline is not None and pipeline not in pipelines(info):
        yield f"{info.name} has no pipeline {pipeline}; {expected(pipelines(info), pipeline)}"
    if getattr(benchmark, "against", None) == info.name:
        yield f"against: {info.name} is what the runs are trained on"


def _attack_faults(benchmark: AnyBenchmark, info: DatasetInfo) -> Iterator[str]:
    """Yield the faults of an attack on images of the data set."""
    target = getattr(benchmark, "target", None)
    if isinstance(target, int) and target >= info.classes:
        yield f"target: {info.name} has the classes 0 to {info.classes - 1}"
    if isinstance(benchmark, Attack) and benchmark.eps > (largest := largest_eps(benchmark.norm, info)):
        wrong = f"eps: {format_eps(benchmark.eps)} is larger than the range of {info.name} in {benchmark.norm}"
        yield f"{wrong}; at most {largest:g} in [0, 1] pixel units"
    if info.classes < (classes := min_classes(benchmark)):
        yield f"its loss, DLR, needs {classes} classes, {info.name} has {info.classes}; {WITHOUT_DLR}"
    if info.size < (size := min_image_size(benchmark)):
        yield f"in l2 its attack Square needs {size} x {size} pixels, {info.name} has {info.size}; {WITHOUT_SQUARE}"
    if isinstance(benchmark, Pgd) and isinstance(benchmark.loss, Part) and benchmark.target != "none":
        yield f"loss: {benchmark.loss.origin} has no target; leave `target` out"
    if isinstance(benchmark, AutoAttack) and benchmark.draws and benchmark.version != "rand":
        yield f"draws: {benchmark.version} judges mean encodings and draws no z; expected version: rand beside it"


class _EntryReader:
    """Reads entries and adds their faults to `faults`."""

    def __init__(self, parts: OwnParts, runs: Schema, faults: list[Fault]) -> None:
        self._parts, self._runs, self._faults = parts, runs, faults
        self._tree = parts.benchmark_schema

    def entry(self, item: Node) -> BenchmarkEntry | None:
        """Return one entry: a name, `name: {parameters}` with lists as axes, or `{from: PART, parameters}`."""
        kinds = self._tree.sections[()].kinds
        name: Node
        parameters: Node | None
        if own := [value for key, value in item.value if key.value == FROM] if isinstance(item, MappingNode) else []:
            pairs = [(key, value) for key, value in item.value if key.value != FROM]
            name, parameters = own[0], MappingNode(item.tag, pairs, item.start_mark, item.end_mark)
        else:
            single = isinstance(item, MappingNode) and len(item.value) == 1
            name, parameters = item.value[0] if single else (item, None)
        if not isinstance(name, ScalarNode):
            self._fault(item, "a benchmark: expected a name, or one name with its parameters")
            return None
        if name.value not in kinds:
            self._fault(name, f"unknown benchmark {name.value!r}; {expected(kinds, name.value)}")
            return None
        if parameters is not None and not isinstance(parameters, MappingNode):
            if yaml_nodes.plain(parameters) is not None:
                self._fault(parameters, f"{name.value}: expected a mapping of parameters")
                return None
            parameters = None
        return self._with_parameters(item, name, parameters)

    def _with_parameters(self, item: Node, name: ScalarNode, parameters: MappingNode | None) -> BenchmarkEntry | None:
        """Return an entry with the axes of its parameters multiplied out and its two selections read."""
        kind, fields = self._tree.sections[()].kinds[name.value], self._tree.sections[()].fields(name.value)
        pairs = parameters.value if parameters is not None else []
        faults_before = len(self._faults)
        axes: list[list[tuple[str, Any]]] = []
        selections: dict[str, tuple[selection.Selection, Node]] = {}
        for key, node in pairs:
            if key.value == ONLY or (key.value == SOURCE and SOURCE in fields):
                if (selected := selection.read(node, self._faults, self._runs)) is not None:
                    selections[key.value] = selected, node
            elif key.value not in fields:
                allowed = expected((*fields, ONLY), key.value)
                self._fault(key, f"{name.value}: unknown parameter {key.value!r}; {allowed}")
            elif Part in get_args(fields[key.value].type) and (own := self._own_values(node, key.value)):
                axes.append([(key.value, value) for value in own])
            else:
                options = read_axis(schema(kind), (key.value,), f"{name.value}.{key.value}", node, self._faults)
                axes.append([(key.value, value.value) for option in options for value in option.values()])
        for key in sorted(k for k, info in fields.items() if info.required and k not in {k.value for k, _ in pairs}):
            allowed = "a selection of one run" if key == SOURCE else describe_type(fields[key].type)
            self._fault(name, f"{name.value}: {key} is missing: expected {allowed}")
        if len(self._faults) > faults_before:
            return None
        rows = ({TAG: name.value, **dict(combination)} for combination in itertools.product(*axes))
        combinations = tuple(self._parts.to_spec(row, BENCHMARK) for row in rows)
        only = selections[ONLY][0] if ONLY in selections else None
        kind = kind if issubclass(kind, Benchmark) else Benchmark  # one of one's own is for any data
        return BenchmarkEntry(item, name.value, kind, combinations, only, selections.get(SOURCE))

    def _own_values(self, node: Node, key: str) -> list[Part | str]:
        """Return the values of a parameter that may be a part of one's own; none if none of them is one."""
        items = node.value if isinstance(node, SequenceNode) else [node]
        path = (*BENCHMARK, key)
        parts = [self._parts.at(path, item, self._faults) for item in items]
        return [part or str(item.value) for part, item in zip(parts, items, strict=True)] if any(parts) else []

    def _fault(self, node: Node, message: str) -> None:
        self._faults.append(fault_at(node, message))


def _benchmarks(entry: BenchmarkEntry, runs: Sequence[PlannedRun], faults: list[Fault]) -> list[AnyBenchmark]:
    extra: dict[str, Any] = {}
    if entry.source is not None:
        selected, node = entry.source
        run_ids = [run.run_id for run in runs if selected.matches(run.leaves)]
        if len(run_ids) != 1:
            faults.append(fault_at(node, f"source: it selects {len(run_ids)} of the {len(runs)} runs; expected one"))
            return []
        extra[SOURCE] = run_ids[0]
    return [msgspec.convert({**combination, **extra}, AnyBenchmark) for combination in entry.combinations]
