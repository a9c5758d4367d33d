"""The `evaluate` section of a matrix: which benchmarks, with which parameters, on which of its runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.benchmarks import (
    WITHOUT_DLR,
    WITHOUT_SQUARE,
    AnyBenchmark,
    Attack,
    AutoAttack,
    Benchmark,
    CleanHoldout,
    format_eps,
    largest_eps,
    min_classes,
    min_image_size,
    pipelines,
)
from experiments.errors import Fault, InputError, expected
from experiments.matrix import selection, yaml_nodes
from experiments.matrix.axis_values import read_axis
from experiments.matrix.spec_fields import TAG, describe_type, schema
from experiments.matrix.yaml_nodes import fault_at
from experiments.spec import Xent

if TYPE_CHECKING:
    from experiments.datasets import DatasetInfo
    from experiments.matrix.planned_run import PlannedRun

ONLY, SOURCE = "only", "source"


@dataclass(frozen=True)
class BenchmarkEntry:
    """One entry of the list, read; `source` is still a selection."""

    node: Node
    name: str
    kind: type[Benchmark]
    combinations: tuple[dict[str, Any], ...]
    only: selection.Selection | None
    source: tuple[selection.Selection, Node] | None


def read(node: Node | None, faults: list[Fault]) -> list[BenchmarkEntry]:
    """Every entry of the section; faults are collected."""
    if node is None:
        return []
    if not isinstance(node, SequenceNode):
        faults.append(fault_at(node, "evaluate: expected a list of benchmarks"))
        return []
    return [asked for item in node.value if (asked := _entry(item, faults))]


def resolve(
    entries: Sequence[BenchmarkEntry], runs: Sequence[PlannedRun], faults: list[Fault]
) -> tuple[tuple[AnyBenchmark, ...], list[tuple[AnyBenchmark, ...]]]:
    """All benchmarks of the matrix, and those of each run, both in the order of the file."""
    bound = [(entry, _benchmarks(entry, runs, faults)) for entry in entries]
    restricted = [entry.only is not None or any(_source(b) for b in found) for entry, found in bound]
    every = tuple(dict.fromkeys(benchmark for _, found in bound for benchmark in found))
    for entry, found in bound:
        _check_data(entry, found, runs, faults)
    if not any(restricted):
        if len(every) < sum(len(found) for _, found in bound):
            _duplicates(bound, faults)
        return every, [every] * len(runs)
    known: dict[tuple[AnyBenchmark, ...], tuple[AnyBenchmark, ...]] = {}
    mine = []
    for run in runs:
        asked = [(e, b) for e, found in bound if _holds(e, run) for b in found if _source(b) != run.run_id]
        chosen = tuple(dict.fromkeys(benchmark for _, benchmark in asked))
        if len(chosen) < len(asked):
            _duplicates([(entry, [benchmark]) for entry, benchmark in asked], faults)
        mine.append(known.setdefault(chosen, chosen))
    return every, mine


def _holds(entry: BenchmarkEntry, run: PlannedRun) -> bool:
    return entry.only is None or entry.only.matches(run.leaves)


def _source(benchmark: AnyBenchmark) -> str:
    """The run an attack is made on, if it is another one than it is tested on."""
    return str(getattr(benchmark, SOURCE, ""))


def _duplicates(bound: Sequence[tuple[BenchmarkEntry, Sequence[AnyBenchmark]]], faults: list[Fault]) -> None:
    seen: set[AnyBenchmark] = set()
    for entry, found in bound:
        if seen.intersection(found) or len(set(found)) < len(found):
            faults.append(fault_at(entry.node, "this benchmark stands here twice for the same runs"))
        seen.update(found)


def _check_data(
    entry: BenchmarkEntry, found: Sequence[AnyBenchmark], runs: Sequence[PlannedRun], faults: list[Fault]
) -> None:
    """Faults for runs on a data set the benchmark is not for, and for parameters that have no meaning there."""
    from experiments import datasets

    def fault(text: str) -> None:
        faults.append(fault_at(entry.node, f"{entry.name}: {text}"))

    held = [run for run in runs if _holds(entry, run)]
    if runs and not held:
        fault("only: it leaves none of the runs")
    for name in sorted({run.run.data.name for run in held}):
        info = datasets.info(name)
        if not _is_for(entry.kind, name):
            fault(f"it is for {', '.join(entry.kind.data_sets)}, not for {name}; {_allowed(name)}")
        for benchmark in found:
            for wrong in filter(None, (_wrong_images(benchmark, info), *_wrong_attack(benchmark, info))):
                fault(wrong)
    if issubclass(entry.kind, CleanHoldout) and not all(run.run.data.holdout for run in held):
        fault("nothing is held out of training for it; set data.holdout to how many images")
    sampled = any(isinstance(b, AutoAttack) and b.version == "rand" for b in found)
    if sampled and any(isinstance(run.run.objective, Xent) for run in held):
        fault("version: rand attacks sampled z; xent has none, only: objective != xent")


def _is_for(kind: type[Benchmark], data_set: str) -> bool:
    return not kind.data_sets or data_set in kind.data_sets


def _allowed(data_set: str) -> str:
    """The benchmarks that there are for a data set."""
    kinds = schema(AnyBenchmark).sections[()].kinds
    names = (name for name, kind in kinds.items() if issubclass(kind, Benchmark) and _is_for(kind, data_set))
    return f"allowed there: {', '.join(names)}"


def _wrong_images(benchmark: AnyBenchmark, info: DatasetInfo) -> str:
    """What is wrong with the images it asks for beside those of the data set; '' if nothing."""
    pipeline = getattr(benchmark, "pipeline", None)
    if pipeline is not None and pipeline not in pipelines(info):
        return f"{info.name} has no pipeline {pipeline}; {expected(pipelines(info), pipeline)}"
    if getattr(benchmark, "against", None) == info.name:
        return f"against: {info.name} is what the runs are trained on"
    return ""


def _wrong_attack(benchmark: AnyBenchmark, info: DatasetInfo) -> Iterator[str]:
    """What is wrong with an attack on images of the data set."""
    target = getattr(benchmark, "target", None)
    if isinstance(target, int) and target >= info.classes:
        yield f"target: {info.name} has the classes 0 to {info.classes - 1}"
    if isinstance(benchmark, Attack) and benchmark.eps > (largest := largest_eps(benchmark.norm, info)):
        wrong = f"eps: {format_eps(benchmark.eps)} is larger than the range of {info.name} in {benchmark.norm}"
        yield f"{wrong}; at most {largest:g} in [0, 1] pixel units"
    if info.classes < (needed := min_classes(benchmark)):
        yield f"its loss, DLR, needs {needed} classes, {info.name} has {info.classes}; {WITHOUT_DLR}"
    if info.size < (needed := min_image_size(benchmark)):
        yield f"in l2 its attack Square needs {needed} x {needed} pixels, {info.name} has {info.size}; {WITHOUT_SQUARE}"
    if isinstance(benchmark, AutoAttack) and benchmark.draws and benchmark.version != "rand":
        yield "draws: standard judges mean encodings and draws no z; expected version: rand beside it"


def _entry(item: Node, faults: list[Fault]) -> BenchmarkEntry | None:
    """One entry: a name, or `name: {parameters}` with lists as axes."""
    kinds = schema(AnyBenchmark).sections[()].kinds
    single = isinstance(item, MappingNode) and len(item.value) == 1
    name, parameters = item.value[0] if single else (item, None)
    if not isinstance(name, ScalarNode):
        faults.append(fault_at(item, "a benchmark: expected a name, or one name with its parameters"))
        return None
    if name.value not in kinds:
        faults.append(fault_at(name, f"unknown benchmark {name.value!r}; {expected(kinds, name.value)}"))
        return None
    if parameters is not None and not isinstance(parameters, MappingNode):
        if yaml_nodes.plain(parameters) is not None:
            faults.append(fault_at(parameters, f"{name.value}: expected a mapping of parameters"))
            return None
        parameters = None
    return _parameters(item, name, parameters, faults)


def _parameters(item: Node, name: ScalarNode, given: MappingNode | None, faults: list[Fault]) -> BenchmarkEntry | None:
    """The axes of the parameters multiplied out, and the two selections read."""
    tree = schema(AnyBenchmark)
    fields = tree.sections[()].fields(name.value)
    pairs = given.value if given is not None else []
    before = len(faults)
    axes: list[list[tuple[str, Any]]] = []
    selections: dict[str, tuple[selection.Selection, Node]] = {}
    for key, node in pairs:
        if key.value == ONLY or (key.value == SOURCE and SOURCE in fields):
            if (chosen := _selection(node, faults)) is not None:
                selections[key.value] = chosen, node
        elif key.value not in fields:
            allowed = expected((*fields, ONLY), key.value)
            faults.append(fault_at(key, f"{name.value}: unknown parameter {key.value!r}; {allowed}"))
        else:
            options = read_axis(tree, (key.value,), f"{name.value}.{key.value}", node, faults)
            axes.append([(key.value, value.value) for option in options for value in option.values()])
    for key in sorted(k for k, info in fields.items() if info.required and k not in {k.value for k, _ in pairs}):
        wanted = "a selection of one run" if key == SOURCE else describe_type(fields[key].type)
        faults.append(fault_at(name, f"{name.value}: {key} is missing: expected {wanted}"))
    if len(faults) > before:
        return None
    combinations = tuple({TAG: name.value, **dict(combination)} for combination in itertools.product(*axes))
    only = selections[ONLY][0] if ONLY in selections else None
    kind = tree.sections[()].kinds[name.value]
    assert issubclass(kind, Benchmark)
    return BenchmarkEntry(item, name.value, kind, combinations, only, selections.get(SOURCE))


def _selection(node: Node, faults: list[Fault]) -> selection.Selection | None:
    text = yaml_nodes.plain(node)
    if not isinstance(text, str):
        faults.append(fault_at(node, "expected a selection such as rho = 3"))
        return None
    try:
        return selection.parse(text)
    except InputError as error:
        faults.append(fault_at(node, str(error)))
        return None


def _benchmarks(entry: BenchmarkEntry, runs: Sequence[PlannedRun], faults: list[Fault]) -> list[AnyBenchmark]:
    extra: dict[str, Any] = {}
    if entry.source is not None:
        chosen, node = entry.source
        found = [run.run_id for run in runs if chosen.matches(run.leaves)]
        if len(found) != 1:
            faults.append(fault_at(node, f"source: it selects {len(found)} of the {len(runs)} runs; expected one"))
            return []
        extra[SOURCE] = found[0]
    return [msgspec.convert({**combination, **extra}, AnyBenchmark) for combination in entry.combinations]
