"""The runs of a matrix that a rehearsal makes: few, and every distinct part of the matrix in one of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from msgspec import structs

from cebctl.status.families import family_axes
from experiments import lineage
from experiments.benchmarks import Transfer
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import STAGES
from experiments.spec import Part, Run


def choose_runs(matrix: Matrix) -> list[PlannedRun]:
    """Return the fewest runs, by a greedy choice, that have every trait of the matrix's runs between them, with the
    runs that they extend or whose examples they are attacked by; in the order of the matrix."""
    traits = [set(_traits(run, matrix)) for run in matrix.runs]
    uncovered = set().union(*traits)
    chosen: set[str] = set()
    while uncovered:
        best = max(range(len(traits)), key=lambda index: len(traits[index] & uncovered))
        chosen.add(matrix.runs[best].run_id)
        uncovered -= traits[best]
    by_id = {run.run_id: run for run in matrix.runs}
    waiting = list(chosen)
    while waiting:
        for other in _dependencies(by_id[waiting.pop()]):
            if other in by_id and other not in chosen:
                chosen.add(other)
                waiting.append(other)
    return [run for run in matrix.runs if run.run_id in chosen]


def _dependencies(planned: PlannedRun) -> Iterator[str]:
    parent = lineage.parent_id(planned.run)
    yield from [parent] if parent else []
    yield from (benchmark.source for benchmark in planned.benchmarks if isinstance(benchmark, Transfer))


def _traits(planned: PlannedRun, matrix: Matrix) -> Iterator[Hashable]:
    """Yield what of a run may fail where another run does not: the code that it takes, its size, what it asks of the
    cluster and what it is measured by. Numbers such as rho, the learning rate and the seed are none of it."""
    run = planned.run
    yield "network", run.network
    yield "data", structs.replace(run.data, train_subset=None)
    yield from _kinds_of_code(run)
    yield from ((stage, matrix.resources(planned, stage)) for stage in STAGES)
    yield from (("benchmark", benchmark) for benchmark in planned.benchmarks)
    if matrix.report.table == "table1" or matrix.report.figures:  # whose rows and lines are families
        yield "family", tuple(str(planned.axes.get(axis)) for axis in family_axes(matrix))


def _kinds_of_code(run: Run) -> Iterator[Hashable]:
    objective, optimiser = run.objective, run.optimiser
    marginal = getattr(objective, "marginal", None)
    yield "objective", _kind(objective), getattr(objective, "covariance", None)
    yield "jump-start", _kind(getattr(objective, "jump_start", None))
    yield "marginal", (marginal.name, _kind(marginal.own)) if marginal else None
    yield "optimiser", _kind(optimiser), *(getattr(optimiser, name, None) for name in ("form", "nesterov", "decoupled"))
    yield "schedule", run.schedule.name, _kind(run.schedule.own)
    yield "adversary", _kind(run.adversary), getattr(run.adversary, "norm", None)
    yield "precision", run.precision
    yield "batch", run.batch, run.replica_batch, run.batch_norm
    yield "origin", run.weights, len(run.extends or ())
    for name in ("decayed", "label_smoothing", "clip_norm", "ema_decay", "ema_form", "ema_judged"):
        yield name, bool(getattr(run, name))


def _kind(value: object) -> object:
    return value.origin if isinstance(value, Part) else type(value)
