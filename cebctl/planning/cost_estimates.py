"""Estimate hours, memory and disk of runs: from speeds measured in the store, else from counted operations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import UNSET

from cebctl.planning.flop_counts import cached_flop_counts
from cebctl.planning.rehearsed_speeds import read_speeds
from experiments import batch_norm, costs, gpus, lineage
from experiments.benchmarks import AnyBenchmark, is_runnable
from experiments.costs import NetworkCount
from experiments.errors import InputError, expected
from experiments.gpus import CPU_CORE_FLOPS, Gpu
from experiments.matrix.planned_run import Matrix, PlannedRun
from experiments.resources import Resources
from experiments.spec import Run, read_run
from jobs.paths import Home
from store import queries
from store.connect import Store

Basis = Literal["measured", "rehearsed", "counted", "not counted"]
"""Measured in full runs of the store, or in a rehearsal; or by counted operations."""


@dataclass(frozen=True)
class Estimate:
    """The cost of one run. Hours are of one GPU, or of one CPU core where the run asks for no GPU.

    Of a network of one's own that was not counted, everything but the devices is unknown, and 0 or None here.
    """

    train_hours: float
    evaluate_hours: float
    basis: Basis
    gpu: str | None
    """None: CPU cores."""
    gpus: int
    """The GPUs in training; 0 on CPU cores."""
    memory_gib: float | None
    """Per GPU in training; None on CPU cores."""
    fitting_batch: int | None
    """The largest batch that fits one GPU."""
    batch_per_gpu: int
    checkpoint_bytes: int
    batch_norm: bool
    """Whether the network has BatchNorm."""

    @property
    def hours(self) -> float:
        return self.train_hours + self.evaluate_hours

    @property
    def fits(self) -> bool:
        """True if the batch of one GPU fits its memory; otherwise it has to be accumulated."""
        return self.fitting_batch is None or self.batch_per_gpu <= self.fitting_batch


def estimate_costs(matrix: Matrix, store: Store, home: Home, gpu: str | None) -> list[Estimate]:
    """Return an estimate for each run of the matrix, in its order. `gpu` overrides what the matrix asks for.

    Raises InputError if that GPU is unknown.
    """
    override = _gpu(gpu) if gpu else None
    counts = cached_flop_counts([planned.run for planned in matrix.runs])
    speeds, rehearsed = _speeds(store, home), _rehearsed_speeds(home)
    by_key: dict[Any, Estimate] = {}
    estimates = []
    for planned in matrix.runs:
        train, evaluate = matrix.resources(planned, "train"), matrix.resources(planned, "evaluate")
        key = (_estimate_cache_key(planned.run), planned.benchmarks, train, evaluate)
        if key not in by_key:
            by_key[key] = _estimate(
                planned, train, evaluate, counts.get(costs.count_key(planned.run)), speeds, rehearsed, override
            )
        estimates.append(by_key[key])
    return estimates


def _estimate_cache_key(run: Run) -> tuple[Any, ...]:
    """Return the fields of a run on which its cost depends."""
    marginal = getattr(run.objective, "marginal", None)
    return (
        run.network, run.data.name, run.data.train_subset, run.data.holdout, run.batch, run.replica_batch,
        lineage.own_epochs(run), run.precision, run.adversary, run.optimiser, type(run.objective), marginal,
        bool(run.ema_decay),
    )  # fmt: skip


def _estimate(
    planned: PlannedRun,
    train: Resources,
    evaluate: Resources,
    counted: NetworkCount | None,
    speeds: dict[Any, float],
    rehearsed: dict[Any, float],
    override: Gpu | None,
) -> Estimate:
    run = planned.run
    gpu = (override or gpus.find_gpu(train.gpu_type or "") or gpus.GPUS[gpus.DEFAULT_GPU]) if train.gpus else None
    devices = max(train.gpus, 1)
    batch = batch_norm.images_at_once(run, devices)
    if counted is None:
        return Estimate(
            0.0, 0.0, "not counted", gpu.name if gpu else None, train.gpus, None, None, batch, 0, batch_norm=False
        )
    key = (_workload_key(run), gpu.name if gpu else None)
    speed = speeds.get(key) or rehearsed.get(key)
    expected_hours = costs.training_flops(run, counted) / (gpu.rate(run.precision) if gpu else CPU_CORE_FLOPS) / 3600
    hours = costs.training_images(run) / speed / 3600 * devices if speed else expected_hours
    benchmarks: tuple[AnyBenchmark, ...] = tuple(b for b in planned.benchmarks if is_runnable(b))
    evaluation_gpu = gpu if evaluate.gpus else None
    rate = evaluation_gpu.rate("fp32") if evaluation_gpu else CPU_CORE_FLOPS
    if evaluation_gpu == gpu and hours:
        rate *= expected_hours / hours  # evaluations are taken to run as much slower or faster as the training did
    return Estimate(
        train_hours=hours,
        evaluate_hours=costs.evaluation_flops(run, counted, benchmarks) / rate / 3600,
        basis="measured" if key in speeds else "rehearsed" if speed else "counted",
        gpu=gpu.name if gpu else None,
        gpus=train.gpus,
        memory_gib=costs.memory_gib(run, counted, batch) if gpu else None,
        fitting_batch=costs.fitting_batch(run, counted, gpu.memory_gib) if gpu else None,
        batch_per_gpu=batch,
        checkpoint_bytes=costs.checkpoint_bytes(run, counted),
        batch_norm=counted.batch_norm if counted.batch_norm is not UNSET else batch_norm.has_batch_norm(run.network),
    )


def _gpu(name: str) -> Gpu:
    gpu = gpus.find_gpu(name)
    if gpu is None:
        raise InputError("--gpu", f"no figures of a GPU {name!r}", expected(gpus.GPUS, name))
    return gpu


def _workload_key(run: Run) -> tuple[Any, ...]:
    """Return the fields of a run on which its training speed on one device depends."""
    return run.data.name, run.network, run.batch, run.precision, run.adversary


def _speeds(store: Store, home: Home) -> dict[Any, float]:
    """Return the mean images/s over whole jobs by (workload, GPU), from every training attempt in the store."""
    measured = [job for job in queries.attempts(store) if job.stage == "train" and job.images_per_second]
    if not measured:
        return {}
    specs = {row.run_id: run for row in queries.runs(store) if (run := read_run(row.spec))}
    speeds: dict[Any, list[float]] = defaultdict(list)
    for job in measured:
        if job.run_id in specs and job.images_per_second:
            speeds[_workload_key(specs[job.run_id]), _device(home, job.run_id)].append(job.images_per_second)
    return {key: sum(values) / len(values) for key, values in speeds.items()}


def _device(home: Home, run_id: str) -> str | None:
    """Return the GPU that a run was trained on, as its provenance names it (`gpu`); None for a CPU."""
    from jobs import provenance

    return _device_name(provenance.read(home.run(run_id)).get("gpu"))


def _rehearsed_speeds(home: Home) -> dict[Any, float]:
    """Return the images/s by (workload, GPU) of the newest rehearsals."""
    return {(_workload_key(speed.run), _device_name(speed.gpu)): speed.images_per_second for speed in read_speeds(home)}


def _device_name(name: str | None) -> str | None:
    gpu = gpus.find_gpu(str(name)) if name else None
    return gpu.name if gpu else name
