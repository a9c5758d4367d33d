"""From two runs of a matrix, or two families of seeds, to their comparison on the same images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cebctl.report.comparison.paired_tests import Comparison, compare, correct_multiple
from cebctl.status import run_names
from experiments import datasets, own_dataset
from experiments.benchmarks import AnyBenchmark, CleanHoldout, full_column, measures, other_test_set
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix import selection
from experiments.matrix.planned_run import Matrix, PlannedRun
from jobs import per_sample
from store import queries
from store.connect import Store

_SELECTION = re.compile(r"\s*[\w.]+\s*([=<>!]|in\b|not\b)")
"""The beginning of a selection, a field and an operator; no name begins like this."""


def resolve_group(matrix: Matrix, text: str) -> list[PlannedRun]:
    """Return the run of a name, of the beginning of an id or of a selection, or several runs that differ in seed only.

    A group is named like its runs, without the seed; the first words are enough. InputError if runs differ otherwise.
    """
    runs = [run for run in matrix.runs if text in (run.name, group_name(run)) or (text and run.run_id.startswith(text))]
    runs = runs or [run for run in matrix.runs if run_names.has_word_prefix(run.name, text)]
    if not runs:
        if not _SELECTION.match(text):
            known_names = dict.fromkeys([*map(group_name, matrix.runs), *(run.name for run in matrix.runs)])
            problem = f"no run of {matrix.path} has such a name or id"
            raise InputError(f"--compare {text!r}", problem, run_names.suggestion(text, known_names))
        where = selection.parse(text, matrix.parts.schema)
        runs = [run for run in matrix.runs if where.matches(run.leaves)]
    if len({group_name(run) for run in runs}) != 1:
        candidates = dict.fromkeys(group_name(run) for run in runs or matrix.runs)
        problem = f"it is {len(runs)} of the {len(matrix.runs)} runs"
        raise InputError(
            f"--compare {text!r}", problem, f"name one, or the seeds of one: {run_names.join_truncated(candidates)}"
        )
    return runs


def group_name(run: PlannedRun) -> str:
    """Return the name of a run without its seed, which all runs of its group share."""
    return run_names.without_seed(run.name)


def compare_groups(matrix: Matrix, store: Store, a: Sequence[PlannedRun], b: Sequence[PlannedRun]) -> list[Comparison]:
    """Return a comparison for each benchmark for which all runs have the correctness of the same images, one by one.

    All are corrected for their number. Where both sides have the same seeds, these are taken in pairs. InputError if
    the two groups share a run or use different data, or if there is nothing to compare.
    """
    if shared := {run.run_id for run in a} & {run.run_id for run in b}:
        raise InputError("--compare", f"{sorted(shared)[0]} is on both sides", "name two")
    if not all(own_dataset.is_same(run.run.data.name, a[0].run.data.name) for run in (*a, *b)):
        raise InputError("--compare", f"{group_name(a[0])} and {group_name(b[0])} are measured on different images")
    a, b = (sorted(side, key=lambda run: run.run.seed) for side in (a, b))
    paired = [run.run.seed for run in a] == [run.run.seed for run in b]
    run_ids = [run.run_id for run in (*a, *b)]
    rows = {(row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, run_ids)}
    compared = []
    without_flags: dict[str, None] = {}
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, a[0].run.data.name)
        measure = next(iter(measures(benchmark)), "")
        flags = [queries.per_sample(store, run_id, evaluation) for run_id in run_ids]
        images = {
            (row.data_digest, row.total) for run_id in run_ids if (row := rows.get((run_id, evaluation, measure)))
        }
        if any(flags):
            without_flags |= dict.fromkeys(run.name for run, text in zip((*a, *b), flags, strict=True) if text is None)
        if None in flags or len(images) != 1:
            continue
        count, ((_, total),) = image_count(benchmark, a[0]), images
        right = [per_sample.unpack(text, count) for text in flags if text is not None]
        compared.append(compare(full_column(benchmark, measure), right[: len(a)], right[len(a) :], total, paired))
    if not compared:
        allowed = f"nothing yet, image by image, of {run_names.join_truncated(without_flags)}" if without_flags else ""
        raise InputError(
            "--compare",
            f"{group_name(a[0])} and {group_name(b[0])} have no result on the same images in common",
            allowed,
        )
    return correct_multiple(compared)


def skipped_benchmarks(matrix: Matrix, store: Store, a: Sequence[PlannedRun], b: Sequence[PlannedRun]) -> list[str]:
    """Return the reasons for each benchmark that is not compared although some runs have its correctness by image."""
    runs = (*a, *b)
    rows = {
        (row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, [run.run_id for run in runs])
    }
    reasons = []
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, runs[0].run.data.name)
        has_flags = {run.name: queries.per_sample(store, run.run_id, evaluation) is not None for run in runs}
        if not any(has_flags.values()):
            continue
        measure = next(iter(measures(benchmark)), "")
        measured = [row for run in runs if (row := rows.get((run.run_id, evaluation, measure)))]
        column = full_column(benchmark, measure)
        if without_flags := [name for name, measured_by_image in has_flags.items() if not measured_by_image]:
            reasons.append(f"Not compared, {column}: nothing yet of {run_names.join_truncated(without_flags)}.")
        elif len({(row.data_digest, row.total) for row in measured}) > 1:
            reasons.append(f"Not compared, {column}: measured on different images.")
    return reasons


def image_count(benchmark: AnyBenchmark, planned: PlannedRun) -> int:
    """Return the size of the set from which the benchmark takes its images."""
    if isinstance(benchmark, CleanHoldout):
        return planned.run.data.holdout or 0
    other = other_test_set(benchmark)
    return other.images if other else datasets.info(planned.run.data.name).test
