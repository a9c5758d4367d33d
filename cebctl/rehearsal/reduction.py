"""A matrix at a small size: the same networks, images and requests, a few steps and a few test images.

A pure function of the expanded matrix. What it returns is an ordinary matrix, so that whatever submits, trains,
evaluates and reports is what the full one will meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from msgspec import UNSET, UnsetType, structs

from cebctl.rehearsal.cover import choose_runs
from cebctl.report.columns import all_columns
from experiments import costs, datasets, identity, lineage
from experiments.benchmarks import AnyBenchmark, Transfer
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.spec import (
    Data,
    GammaJumpStart,
    GatedJumpStart,
    JumpStart,
    NoJumpStart,
    Objective,
    Run,
    Schedule,
    Xent,
)

MARK = "REHEARSAL"
IMAGES = 4
"""Test images of each benchmark, and of each corruption at each severity."""
_LARGE_IMAGE = 64
"""Pixels of a side above which a step on a CPU takes a second an image."""
_EPOCHS: Mapping[type[JumpStart], int] = {NoJumpStart: 2, GammaJumpStart: 3, GatedJumpStart: 4}
"""Epochs, of one step each, by the jump-start: it takes one or, if gated, two. The training rate is that of an epoch
behind one that ended at the target."""

Missing = Mapping[tuple[AnyBenchmark, str], str]
"""What is missing of the images of a benchmark on a data set."""


def reduce_matrix(
    matrix: Matrix, images: int = IMAGES, *, full_batch: bool = False, without: Missing = MappingProxyType({})
) -> Matrix:
    """Return the matrix of a rehearsal, whose title says so.

    Runs keep their names and their requests to the cluster. `images` are the test images of each benchmark. With
    `full_batch` a training on GPUs keeps its batch, so that its memory is that of the full run. The benchmarks of
    `without` are left out.
    """
    chosen = choose_runs(matrix)
    extended = [ancestor for run in chosen for ancestor in _ancestors_elsewhere(run, matrix)]
    planned = list({run.run_id: run for run in (*extended, *chosen)}.values())
    runs = {
        run.run_id: reduce_run(run.run, keep_batch=full_batch and matrix.resources(run, "train").gpus > 0)
        for run in planned
    }
    ids = {run_id: identity.run_id(run) for run_id, run in runs.items()}
    images = min(images, *(datasets.info(run.run.data.name).test for run in planned))
    measured = {run.run_id: [b for b in run.benchmarks if (b, run.run.data.name) not in without] for run in planned}
    benchmarks = {
        benchmark: _reduce_benchmark(benchmark, images, ids)
        for benchmark in matrix.benchmarks
        if any(benchmark in own for own in measured.values())
    }
    reduced = [
        replace(
            run,
            run=runs[run.run_id],
            run_id=ids[run.run_id],
            benchmarks=tuple(benchmarks[benchmark] for benchmark in measured[run.run_id]),
            # Selections of `resources` and of the papers' models are about the run that the matrix names.
            spelled=run.spelled or run.run,
        )
        for run in planned
    ]
    report = structs.replace(matrix.report, columns=tuple(_columns(matrix, benchmarks)))
    title = f"{MARK}: {matrix.title}"
    unique = tuple({run.run_id: run for run in reduced}.values())
    reduced_benchmarks = tuple(benchmarks.values())
    # A claim is about numbers, of which a rehearsal has none that count.
    return replace(
        matrix, title=title, runs=unique, benchmarks=reduced_benchmarks, report=report, claims={}, claim_seeds={}
    )


def reduce_run(run: Run, *, keep_batch: bool = False) -> Run:
    """Return a run of a few steps, its schedule, jump-start and drops scaled along. A run without training stays."""
    if not run.epochs:
        return run
    images = costs.images_per_epoch(run)
    batch = min(run.batch, images if keep_batch else _small_batch(run))
    rounds = _EPOCHS[type(_jump_start(run.objective))]
    lengths = [*(run.extends or ()), run.epochs]
    share = rounds / lengths[0]  # of the first run: all that go on from it have one schedule
    return structs.replace(
        run,
        data=_reduce_data(run.data, min(batch, images)),
        objective=_reduce_objective(run.objective, rounds, lengths[0] * max(1, images // run.batch)),
        schedule=_scale_schedule(run.schedule, share),
        epochs=float(rounds * len(lengths)),
        extends=tuple(rounds * (index + 1) for index in range(len(lengths) - 1)) or UNSET,
        batch=batch,
        replica_batch=run.replica_batch if batch == run.batch else _replica_batch(run, batch),
    )


def _small_batch(run: Run) -> int:
    return 4 if datasets.info(run.data.name).size > _LARGE_IMAGE else 8


def _replica_batch(run: Run, batch: int) -> int | UnsetType:
    """Return the images computed at a time: half of the batch where the full run adds up gradients too."""
    if not run.replica_batch or run.replica_batch >= run.batch or batch < 4:
        return UNSET
    return batch // 2


def _reduce_data(data: Data, images: int) -> Data:
    holdout = min(data.holdout, max(images, IMAGES)) if data.holdout else data.holdout
    return structs.replace(data, train_subset=images, holdout=holdout)


def _jump_start(objective: Objective) -> JumpStart:
    return NoJumpStart() if isinstance(objective, Xent) else objective.jump_start


def _reduce_objective(objective: Objective, steps: int, full_steps: float) -> Objective:
    """Return an objective whose jump-start takes as large a share of the steps, and ends where that of the full run
    does."""
    if isinstance(objective, Xent):
        return objective
    jump_start = objective.jump_start
    match jump_start:
        case GammaJumpStart(steps=length):
            scaled = max(1, round(length * steps / full_steps))
            most = max(1, steps - 2) if length < full_steps else scaled
            jump_start = structs.replace(jump_start, steps=min(scaled, most))
        case GatedJumpStart(threshold=threshold):
            # A few images say nothing of an accuracy of 20%: one that is right opens the gate.
            jump_start = structs.replace(jump_start, epochs=1, threshold=threshold if threshold >= 1 else 0.0)
    return structs.replace(objective, jump_start=jump_start)


def _scale_schedule(schedule: Schedule, share: float) -> Schedule:
    if schedule.own:
        horizon = schedule.own.horizon_epochs
        scaled = UNSET if horizon is UNSET else horizon * share
        return structs.replace(schedule, own=structs.replace(schedule.own, horizon_epochs=scaled))
    horizon = schedule.horizon_epochs
    return structs.replace(
        schedule,
        warmup_epochs=schedule.warmup_epochs * share,
        drops=tuple(drop * share for drop in schedule.drops),
        horizon_epochs=UNSET if horizon is UNSET else horizon * share,
    )


def _reduce_benchmark(benchmark: AnyBenchmark, images: int, ids: Mapping[str, str]) -> AnyBenchmark:
    if isinstance(benchmark, Transfer):
        benchmark = structs.replace(benchmark, source=ids[benchmark.source])
    if "subset" not in benchmark.__struct_fields__:  # it measures no images
        return benchmark
    return structs.replace(benchmark, subset=min(getattr(benchmark, "subset", None) or images, images))


def _columns(matrix: Matrix, benchmarks: Mapping[AnyBenchmark, AnyBenchmark]) -> Iterator[str]:
    """Yield the columns of the `report` section under the names that they have for the reduced benchmarks."""
    full = {column.name: column for column in all_columns(matrix.benchmarks)}
    reduced = {(column.benchmark, column.measure): column for column in all_columns(list(benchmarks.values()))}
    short = {column.short for column in reduced.values()}
    for name in matrix.report.columns:
        column = full.get(name)
        renamed = reduced.get((benchmarks.get(column.benchmark), column.measure)) if column else None  # type: ignore[arg-type]
        if renamed or (column is None and name in short):
            yield renamed.name if renamed else name


def _ancestors_elsewhere(planned: PlannedRun, matrix: Matrix) -> Iterator[PlannedRun]:
    """Yield the runs that a run extends and that its matrix does not have: in the rehearsal they are trained too."""
    known = {run.run_id for run in matrix.runs}
    for ancestor in lineage.ancestors(planned.run):
        run_id = identity.run_id(ancestor)
        if run_id not in known:
            axes = {**planned.axes, "epochs": ancestor.epochs}
            name = f"{planned.name}, its first {ancestor.epochs:g} epochs"
            yield PlannedRun(ancestor, run_id, name, axes)
