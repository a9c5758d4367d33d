"""From two runs of a matrix, each an id, a name or a selection, to their comparison on the same images."""

from __future__ import annotations

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


def one_run(matrix: Matrix, text: str) -> PlannedRun:
    """The run that a name, the beginning of an id or a selection leaves; InputError unless it is one."""
    found = [run for run in matrix.runs if run.name == text or (text and run.run_id.startswith(text))]
    if not found:
        chosen = selection.parse(text)
        found = [run for run in matrix.runs if chosen.holds(run.leaves)]
    if len(found) != 1:
        names = ", ".join(run.name for run in (found or matrix.runs)[:6])
        more = ", …" if len(found or matrix.runs) > 6 else ""
        raise InputError(
            f"--compare {text!r}", f"it is {len(found)} of the {len(matrix.runs)} runs", f"name one: {names}{more}"
        )
    return found[0]


def comparisons(matrix: Matrix, store: Store, home: Home, a: PlannedRun, b: PlannedRun) -> list[Comparison]:
    """One for each benchmark whose correctness, image by image, is there for both runs.

    InputError if the two are one run or learnt from different data, or if there is none.
    """
    if a.run_id == b.run_id:
        raise InputError("--compare", f"{a.name} is one run", "name two")
    if a.run.data.name != b.run.data.name:
        raise InputError("--compare", f"{a.name} and {b.name} are measured on different images")
    ingest(store, home)
    rows = {(row.run_id, row.evaluation_id, row.name): row for row in queries.results(store, [a.run_id, b.run_id])}
    found = []
    for benchmark in matrix.benchmarks:
        evaluation = evaluation_id(benchmark, a.run.data.name)
        flags = [queries.per_sample(store, run.run_id, evaluation) for run in (a, b)]
        name = next(iter(measures(benchmark)), "")
        both = [rows.get((run.run_id, evaluation, name)) for run in (a, b)]
        if flags[0] is None or flags[1] is None or both[0] is None or both[1] is None:
            continue
        count = _count(a.run.data.name)
        right = [per_sample.unpack(text, count) for text in flags if text is not None]
        found.append(compare(full_column(benchmark, name), right[0], right[1], both[0].total))
    if not found:
        raise InputError("--compare", f"{a.name} and {b.name} have no result in common")
    return found


def _count(data: str) -> int:
    from experiments import datasets

    return datasets.info(data).test
