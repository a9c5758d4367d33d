"""From two runs of a matrix, or two families of seeds, to their comparison on the same images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cebctl.report.comparison.paired_tests import Comparison, compare, correct_multiple
from cebctl.status import run_names
from experiments import datasets
from experiments.benchmarks import AnyBenchmark, CleanHoldout, full_column, measures, other_test_set
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix import selection
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import per_sample
from store import queries
from store.connect import Store

_SELECTION = re.compile(r"\s*[\w.]+\s*([=<>!]|in\b|not\b)")
"""How a selection begins, and no name does: with a field and an operator."""


def resolve_group(matrix: Matrix, text: str) -> list[PlannedRun]:
    """The run that a name, the beginning of an id or a selection leaves, or the runs if only their seeds differ.

    The name of several seeds is theirs without the seed; its first words are enough. InputError otherwise.
    """
    found = [
        run for run in matrix.runs if text in (run.name, group_name(run)) or (text and run.run_id.startswith(text))
    ]
    found = found or [run for run in matrix.runs if run_names.has_word_prefix(run.name, text)]
    if not found:
        if not _SELECTION.match(text):
            called = dict.fromkeys([*map(group_name, matrix.runs), *(run.name for run in matrix.runs)])
            wrong = f"no run of {matrix.path} has such a name or id"
            raise InputError(f"--compare {text!r}", wrong, run_names.suggestion(text, called))
        chosen = selection.parse(text)
        found = [run for run in matrix.runs if chosen.matches(run.leaves)]
    if len({group_name(run) for run in found}) != 1:
        there = dict.fromkeys(group_name(run) for run in found or matrix.runs)
        wrong = f"it is {len(found)} of the {len(matrix.runs)} runs"
        raise InputError(
            f"--compare {text!r}", wrong, f"name one, or the seeds of one: {run_names.join_truncated(there)}"
        )
    return found


def group_name(run: PlannedRun) -> str:
    """The run's name without its seed."""
    return run_names.without_seed(run.name)


def compare_groups(matrix: Matrix, store: Store, a: Sequence[PlannedRun], b: Sequence[PlannedRun]) -> list[Comparison]:
    """One for each benchmark whose correctness, image by image, is there for all the runs, and of the same images,
    corrected for all of them at once. Where both sides have the same seeds these are taken in pairs.

    InputError if the two share a run or learnt from different data, or if there is none.
    """
    if shared := {run.run_id for run in a} & {run.run_id for run in b}:
        raise InputError("--compare", f"{sorted(shared)[0]} is on both sides", "name two")
    data = {run.run.data.name for run in (*a, *b)}
    if len(data) > 1:
        raise InputError("--compare", f"{group_name(a[0])} and {group_name(b[0])} are measured on different images")
    a, b = (sorted(side, key=lambda run: run.run.seed) for side in (a, b))
    paired = [run.run.seed for run in a] == [run.run.seed for run in b]
    every = [run.run_id for run in (*a, *b)]
    rows = {(row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, every)}
    found = []
    lacking: dict[str, None] = {}
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, a[0].run.data.name)
        measure = next(iter(measures(benchmark)), "")
        flags = [queries.per_sample(store, run_id, evaluation) for run_id in every]
        images = {(row.data_digest, row.total) for run_id in every if (row := rows.get((run_id, evaluation, measure)))}
        if any(flags):
            lacking |= dict.fromkeys(run.name for run, text in zip((*a, *b), flags, strict=True) if text is None)
        if None in flags or len(images) != 1:
            continue
        count, ((_, total),) = _images(benchmark, a[0]), images
        right = [per_sample.unpack(text, count) for text in flags if text is not None]
        found.append(compare(full_column(benchmark, measure), right[: len(a)], right[len(a) :], total, paired))
    if not found:
        allowed = f"nothing yet, image by image, of {run_names.join_truncated(lacking)}" if lacking else ""
        raise InputError(
            "--compare",
            f"{group_name(a[0])} and {group_name(b[0])} have no result on the same images in common",
            allowed,
        )
    return correct_multiple(found)


def skipped_benchmarks(matrix: Matrix, store: Store, a: Sequence[PlannedRun], b: Sequence[PlannedRun]) -> list[str]:
    """Say why each benchmark that some of the runs have image by image is not compared: others lack it, or have it of
    other images."""
    runs = (*a, *b)
    rows = {
        (row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, [run.run_id for run in runs])
    }
    reasons = []
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, runs[0].run.data.name)
        has = {run.name: queries.per_sample(store, run.run_id, evaluation) is not None for run in runs}
        if not any(has.values()):
            continue
        measure = next(iter(measures(benchmark)), "")
        measured = [row for run in runs if (row := rows.get((run.run_id, evaluation, measure)))]
        column = full_column(benchmark, measure)
        if lacking := [name for name, is_there in has.items() if not is_there]:
            reasons.append(f"Not compared, {column}: nothing yet of {run_names.join_truncated(lacking)}.")
        elif len({(row.data_digest, row.total) for row in measured}) > 1:
            reasons.append(f"Not compared, {column}: measured on different images.")
    return reasons


def _images(benchmark: AnyBenchmark, planned: PlannedRun) -> int:
    """How many the set holds from which the benchmark takes its images."""
    if isinstance(benchmark, CleanHoldout):
        return planned.run.data.holdout or 0
    other = other_test_set(benchmark)
    return other.images if other else datasets.info(planned.run.data.name).test
