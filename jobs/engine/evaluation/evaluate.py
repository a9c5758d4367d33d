"""The evaluate stage: the benchmarks of one run on its last checkpoint, one `Result` in the journal for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from experiments import lineage, numerics
from experiments.benchmarks import AnyBenchmark, full_column, tag
from experiments.errors import CebctlError, InputError
from experiments.identity import evaluation_id, run_id
from experiments.spec import Run
from jobs import per_sample, provenance
from jobs.engine import checkpoint_format, data
from jobs.engine.attacks.precision import full_precision
from jobs.engine.data import ImageSet
from jobs.engine.errors import BenchmarkError, EvaluationError, is_fatal
from jobs.engine.evaluation import source_model, training_history
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues, Measurement, Summary
from jobs.engine.evaluation.partial_results import PartialResults, origin
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.heartbeats import HEARTBEAT_SECONDS, memory_mb
from jobs.engine.models import CebModel
from jobs.errors import Stopped
from jobs.journal.files import Journal
from jobs.journal.history import newest_complete
from jobs.journal.records import Heartbeat, Measure, Result
from jobs.paths import RunPaths


def evaluate(
    run: Run,
    benchmarks: Sequence[AnyBenchmark],
    paths: RunPaths,
    journal: Journal | None,
    data_root: Path,
    device: str,
    should_stop: Callable[[], bool],
    engine: str,
    shard: Shard | None = None,
    generation: int = 1,
) -> None:
    """Write the results of `benchmarks`, in order, to the journal; `engine` is the digest of the code that made them,
    `generation` the one in which they are measured.

    Resumes at the batch where an earlier attempt was stopped or killed. `shard` are the batches that this process
    measures: None takes those of its place in the torch.distributed group, or all where there is none. The first
    process of a group writes for all; the others need no journal. Of several jobs, each with its shard and journal,
    the one that ends last writes the result.

    A benchmark that is refused, or that meets an unforeseen error, does not keep the others from running: at the end
    InputError names each, or EvaluationError if one of the second kind is among them. Raises InputError at once if the
    images or a checkpoint are missing, Stopped between two batches when `should_stop`, and at once every error that
    `is_fatal`.
    """
    shard = Shard.from_group() if shard is None else shard
    writer = journal if shard.is_writer else None
    trained = checkpoint_format.load_model(run, paths.checkpoints)
    model = trained.model.to(device)
    images = data.load(run.data, "test", data_root)
    ancestors = [newest_complete(paths.beside(run_id(ancestor))) for ancestor in lineage.ancestors(run)]
    new_context = partial(
        EvaluationContext,
        images,
        device,
        _batch_size(images),
        load_model=partial(source_model.load, tested=run, paths=paths, device=device),
        load_images=partial(data.load, run.data, root=data_root),
        root=data_root,
        shard=shard,
        epochs=partial(training_history.epochs, [*ancestors, paths]),
        objective=run.objective,
    )
    faults: list[CebctlError] = []
    for benchmark in benchmarks:
        identity = evaluation_id(benchmark, run.data.name)
        column = full_column(benchmark, tag(benchmark))
        versions = numerics.evaluation_versions(run, benchmark)
        cache = PartialResults(paths.partial_of(generation), identity, origin(trained.file, versions, device), shard)
        watch = _Watch(writer, device, should_stop, column)
        try:
            measurements, context = _measure(
                model, partial(new_context, watch=watch, cache=cache), benchmark, run.seed, cache
            )
        except InputError as error:
            faults.append(error)
            continue
        except Exception as error:
            # A signal reaches the processes that read images too: the error of their end is no fault of the benchmark.
            if is_fatal(error) or should_stop():
                raise
            faults.append(BenchmarkError(column, error))
            continue
        finally:
            cache.close()
        if writer is not None and context.is_complete:
            result = Result(
                evaluation_id=identity,
                benchmark=benchmark,
                data_digest=context.digest(),
                checkpoint_step=trained.step,
                engine=engine,
                measures=[measure(measurement) for measurement in measurements] + _left_out(context),
                per_sample=_flags(measurements, context.largest),
                seconds=context.seconds,
                libraries=provenance.library_versions(),
                numerics=versions,
                generation=generation,
            )
            writer.write(result)
            cache.clear()
    if not all(isinstance(fault, InputError) for fault in faults):
        raise EvaluationError(faults)
    if faults:
        raise InputError("evaluate", "; ".join(map(str, faults)))


def _measure(
    model: CebModel,
    new_context: Callable[[], EvaluationContext],
    benchmark: AnyBenchmark,
    seed: int,
    cache: PartialResults,
) -> tuple[list[Measurement], EvaluationContext]:
    """Return what the evaluator yields, the shards that other jobs have measured included, and the account of it."""
    evaluator = EVALUATORS[type(benchmark)]
    context = new_context()
    with full_precision(context.device):
        measurements = list(evaluator(model, context, benchmark, seed))
        if not context.is_complete:  # the other jobs may have ended meanwhile
            cache.reload()
            context = new_context()
            measurements = list(evaluator(model, context, benchmark, seed))
    return measurements, context


def measure(measurement: Measurement) -> Measure:
    """Return the number that stands for all images: a count for an accuracy or a success, else the mean and its
    spread."""
    name, unit = measurement.name, measurement.unit
    if isinstance(measurement, Summary):
        return Measure(name=name, unit=unit, total=measurement.total, value=measurement.value)
    total = len(measurement.values_M)
    if unit in ("accuracy", "success"):
        return Measure(name=name, unit=unit, total=total, correct=int(measurement.values_M.sum()))
    values_M = measurement.values_M.double()
    std = values_M.std().item() if unit != "share" and total > 1 else None
    return Measure(name=name, unit=unit, total=total, value=values_M.mean().item(), std=std)


def _flags(measurements: Sequence[Measurement], count: int) -> str | None:
    """Return the first accuracy, image by image over the whole image set; an image that was not measured counts as
    wrong."""
    for measurement in measurements:
        # A name like `fog/3` is that of one set among many.
        if isinstance(measurement, ImageValues) and measurement.unit == "accuracy" and "/" not in measurement.name:
            flags_N = torch.zeros(count, dtype=torch.bool)
            flags_N[measurement.samples_M] = measurement.values_M
            return per_sample.pack(flags_N.tolist())
    return None


def _left_out(context: EvaluationContext) -> list[Measure]:
    """Return the share of the images that could not be decoded, if any."""
    if not context.corrupt:
        return []
    share = context.corrupt / context.requested
    return [Measure(name="corrupt_images", unit="share", total=context.requested, value=share)]


def _batch_size(images: ImageSet) -> int:
    return 500 if images.info.size <= 32 else 100


@dataclass
class _Watch:
    """Writes heartbeats, and raises Stopped when the job is asked to stop."""

    journal: Journal | None
    """None for a process that does not report."""
    device: str
    should_stop: Callable[[], bool]
    activity: str
    started: float = field(default_factory=time.monotonic)
    last: float = float("-inf")
    resumed_at: int | None = None
    """Images that were done before this attempt began: they would inflate its speed."""

    def __call__(self, done: int, total: int) -> None:
        if self.should_stop():
            raise Stopped
        now = time.monotonic()
        if self.resumed_at is None:
            self.resumed_at = done
        if self.journal is None or now - self.last < HEARTBEAT_SECONDS:
            return
        self.last = now
        speed = (done - self.resumed_at) / (now - self.started) if done > self.resumed_at else None
        memory = memory_mb(self.device)
        self.journal.write(
            Heartbeat(step=done, steps=total, images_per_second=speed, memory_mb=memory, activity=self.activity)
        )
