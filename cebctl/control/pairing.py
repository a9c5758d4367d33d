"""From two runs of a matrix, or two families of seeds, to their comparison on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from cebctl.report.compare import Comparison, compare
from experiments import selection
from experiments.benchmarks import full_column, measures
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.matrix import Matrix, PlannedRun
from jobs import per_sample
from jobs.home import Home
from store import queries
from store.ingest import ingest
from store.opening import Store


def family(matrix: Matrix, text: str) -> list[PlannedRun]:
    """The run that a name, the beginning of an id or a selection leaves, or the runs if only their seeds differ.

    InputError otherwise.
    """
    found = [run for run in matrix.runs if run.name == text or (text and run.run_id.startswith(text))]
    if not found:
        chosen = selection.parse(text)
        found = [run for run in matrix.runs if chosen.holds(run.leaves)]
    if len({name(run) for run in found}) != 1:
        names = ", ".join(run.name for run in (found or matrix.runs)[:6])
        more = ", …" if len(found or matrix.runs) > 6 else ""
        raise InputError(
            f"--compare {text!r}",
            f"it is {len(found)} of the {len(matrix.runs)} runs",
            f"name one, or the seeds of one: {names}{more}",
        )
    return found


def name(run: PlannedRun) -> str:
    """The run's name without its seed."""
    return " ".join(part for part in run.name.split() if not part.startswith("seed="))


def comparisons(
    matrix: Matrix, store: Store, home: Home, a: Sequence[PlannedRun], b: Sequence[PlannedRun]
) -> list[Comparison]:
    """One for each benchmark whose correctness, image by image, is there for all the runs.

    InputError if the two share a run or learnt from different data, or if there is none.
    """
    if shared := {run.run_id for run in a} & {run.run_id for run in b}:
        raise InputError("--compare", f"{sorted(shared)[0]} is on both sides", "name two")
    data = {run.run.data.name for run in (*a, *b)}
    if len(data) > 1:
        raise InputError("--compare", f"{name(a[0])} and {name(b[0])} are measured on different images")
    ingest(store, home)
    every = [run.run_id for run in (*a, *b)]
    rows = {(row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, every)}
    found = []
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, a[0].run.data.name)
        measure = next(iter(measures(benchmark)), "")
        flags = [queries.per_sample(store, run_id, evaluation) for run_id in every]
        totals = {row.total for run_id in every if (row := rows.get((run_id, evaluation, measure)))}
        if None in flags or len(totals) != 1:
            continue
        count = _count(a[0].run.data.name)
        right = [per_sample.unpack(text, count) for text in flags if text is not None]
        found.append(compare(full_column(benchmark, measure), right[: len(a)], right[len(a) :], totals.pop()))
    if not found:
        raise InputError("--compare", f"{name(a[0])} and {name(b[0])} have no result in common")
    return found


def _count(data: str) -> int:
    from experiments import datasets

    return datasets.info(data).test
