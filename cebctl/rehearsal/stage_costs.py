"""The time and memory of each stage of a rehearsal beside the estimates of `plan`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cebctl.planning.cost_estimates import estimate_costs
from cebctl.planning.flop_counts import cached_flop_counts
from cebctl.status.states import RunStatus, StageStatus
from experiments import batch_norm, costs, gpus
from experiments.costs import NetworkCount
from experiments.gpus import CPU_CORE_FLOPS
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import Resources
from jobs import provenance
from jobs.paths import Home, Stage
from jobs.slurm.cluster_info import parse_megabytes
from store import queries
from store.connect import Store
from store.row_types import ResultRow


@dataclass(frozen=True)
class StageCost:
    """One stage of one run."""

    run: RunStatus
    stage: StageStatus
    gpu: str | None
    """As its provenance names it; None for a CPU."""
    seconds: float | None
    """For each image that was trained on; of an evaluation, for each pass of an image through the network, of which an
    attack of 20 steps takes 41. None where nothing was measured."""
    planned_seconds: float | None
    """The same by `plan`, from counted operations, on one such GPU or one CPU core."""
    memory_mb: float | None
    """The peak: of the GPU, or of the process where there is none."""
    planned_memory_mb: float | None
    """The same by `plan`; of a GPU alone."""
    faults: tuple[str, ...] = ()
    """What is wrong with the memory that the stage asks for."""


def stage_costs(full: Matrix, matrix: Matrix, runs: Sequence[RunStatus], store: Store, home: Home) -> list[StageCost]:
    """Return the cost of every stage of the runs, trainings first in each. `full` is the matrix that was reduced."""
    counts = cached_flop_counts([run.planned.run for run in runs])
    results: dict[str, list[ResultRow]] = defaultdict(list)
    for row in queries.results(store, [run.planned.run_id for run in runs]):
        results[row.run_id].append(row)
    too_large = _too_large(full, store, home)
    return [
        _cost(run, stage, matrix, counts.get(costs.count_key(run.planned.run)), results, too_large, store, home)
        for run in runs
        for stage in run.stages
    ]


def _cost(
    run: RunStatus,
    stage: StageStatus,
    matrix: Matrix,
    count: NetworkCount | None,
    results: dict[str, list[ResultRow]],
    too_large: dict[str, str],
    store: Store,
    home: Home,
) -> StageCost:
    planned = run.planned
    resources = matrix.resources(planned, stage.stage)
    device = provenance.read(home.run(planned.run_id)).get("gpu")
    gpu = gpus.find_gpu(str(device)) if device else None
    rate = None if device and not gpu else gpu.rate(_precision(planned, stage.stage)) if gpu else CPU_CORE_FLOPS
    planned_memory = None
    if stage.stage == "train":
        seconds, memory = _training(planned, store)
        flops = costs.training_flops(planned.run, count) / images if count and (
            images := costs.training_images(planned.run)
        ) else None  # fmt: skip
        if gpu and count:
            batch = batch_norm.images_at_once(planned.run, resources.gpus)
            planned_memory = costs.memory_gib(planned.run, count, batch) * 2**30 / 1e6
    else:
        seconds, memory = _evaluation(planned, results[planned.run_id]), stage.job.memory_mb if stage.job else None
        flops = 2.0 * count.macs if count else None
    faults = [*_memory_faults(resources, memory, device)]
    if stage.stage == "train" and planned.name in too_large:
        faults.append(too_large[planned.name])
    return StageCost(
        run, stage, str(device) if device else None, seconds, flops / rate if flops and rate else None, memory,
        planned_memory, tuple(faults),
    )  # fmt: skip


def _precision(planned: PlannedRun, stage: Stage) -> str:
    return planned.run.precision if stage == "train" else "fp32"


def _training(planned: PlannedRun, store: Store) -> tuple[float | None, float | None]:
    """Return the seconds of an image in the fastest epoch, which is not the one that begins with a cold start, and the
    peak of memory."""
    points = queries.metrics(store, planned.run_id, ("images_per_second", "memory_mb"))
    values: dict[str, list[float]] = defaultdict(list)
    for point in points:
        if point.stage == "train" and point.value:
            values[point.name].append(point.value)
    speed = max(values["images_per_second"], default=None)
    return 1 / speed if speed else None, max(values["memory_mb"], default=None)


def _evaluation(planned: PlannedRun, rows: Sequence[ResultRow]) -> float | None:
    seconds = {row.benchmark: row.seconds for row in rows}
    passes = costs.evaluation_passes(planned.run, seconds)
    return sum(seconds.values()) / passes if passes else None


def _memory_faults(resources: Resources, memory_mb: float | None, device: object) -> Iterator[str]:
    if not resources.memory or not memory_mb or device or resources.gpus:
        return  # of a GPU's stage the memory of the machine was not measured
    asked = parse_megabytes(resources.memory) * 2**20 / 1e6
    if memory_mb > asked:
        yield f"it took {memory_mb:,.0f} MB and asks for memory: {resources.memory}"


def _too_large(full: Matrix, store: Store, home: Home) -> dict[str, str]:
    """Return, by the name of a run, why the training of the full run won't fit what it asks for, by `plan`."""
    faults = {}
    counts = cached_flop_counts([planned.run for planned in full.runs])
    for planned, estimate in zip(full.runs, estimate_costs(full, store, home, None), strict=True):
        resources, count = full.resources(planned, "train"), counts.get(costs.count_key(planned.run))
        if not estimate.fits:
            needs = f"{estimate.batch_per_gpu:,} images per GPU need {estimate.memory_gib:.0f} GiB"
            would = f"`replica_batch: {estimate.fitting_batch}` would"
            faults[planned.name] = f"in full {needs} and won't fit {estimate.gpu}; {would}"
        elif count and not resources.gpus and resources.memory:
            needed = costs.network_bytes(planned.run, count, batch_norm.images_at_once(planned.run, 1)) / 2**20
            if needed > parse_megabytes(resources.memory):
                text = f"in full its network and a batch need {needed:,.0f} MiB and it asks for {resources.memory}"
                faults[planned.name] = text
    return faults
