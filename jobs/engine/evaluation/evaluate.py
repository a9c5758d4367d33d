"""The evaluate stage: the benchmarks of one run on its last checkpoint, one `Result` in the journal for each."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from jobs.engine.errors import EvaluationError, Failure, RefusedError, is_fatal
from jobs.engine.evaluation import source_model, training_history
from jobs.engine.evaluation.evaluators import EVALUATORS, EvaluationContext, ImageValues, Measurement, Summary
from jobs.engine.evaluation.partial_results import PartialResults, origin
from jobs.engine.evaluation.sharding import Shard
from jobs.engine.heartbeats import HEARTBEAT_SECONDS, memory_mb
from jobs.engine.models import CebModel
from jobs.errors import Stopped
from jobs.journal.files import Journal, read
from jobs.journal.history import newest_complete
from jobs.journal.records import LARGEST_VALUE, Failed, Heartbeat, Measure, Result
from jobs.paths import RunPaths

_log = logging.getLogger(__name__)

_SMALLER = 4
"""Batches become smaller by this factor where memory was too small."""


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

    A benchmark that fails, whatever it raises, does not keep the others from running: at the end EvaluationError
    names each that did, RefusedError if all of them were refused. Where memory is too small, it is tried once more on
    smaller batches. A broken GPU ends the evaluation; benchmarks that failed in an earlier attempt come last, so that
    the others are measured before it.
    Raises InputError at once if the images or a checkpoint are missing, Stopped between two batches when
    `should_stop`, and at once every error that `is_fatal`.
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
        load_model=partial(source_model.load, tested=run, paths=paths, device=device),
        load_images=partial(data.load, run.data, root=data_root),
        root=data_root,
        shard=shard,
        epochs=partial(training_history.epochs, [*ancestors, paths]),
        objective=run.objective,
    )

    def result_of(benchmark: AnyBenchmark, identity: str, batch_size: int, smaller: bool) -> Result | Failure | None:
        """Return the result; None while other jobs still measure their shards, and in processes that do not write."""
        column = full_column(benchmark, tag(benchmark))
        versions = numerics.evaluation_versions(run, benchmark)
        made_by = origin(trained.file, versions, device) + f" batch {batch_size}" * smaller
        cache = PartialResults(paths.partial_of(generation), identity, made_by, shard)
        watch = _Watch(writer, device, should_stop, column)
        try:
            measurements, context = _measure(
                model, partial(new_context, batch_size, watch=watch, cache=cache), benchmark, run.seed, cache
            )
            if writer is None or not context.is_complete:
                return None
            return Result(
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
                batch_size=batch_size if smaller else None,
            )
        except BaseException as error:
            # A signal reaches the processes that read images too: the error of their end is no fault of the benchmark.
            if is_fatal(error) or (should_stop() and not isinstance(error, InputError)):
                raise
            failure = Failure.of(error)
            return failure if failure.kind == "input" else replace(failure, message=f"{column}: {failure.message}")
        finally:
            cache.close()

    failures: dict[str, Failure] = {}
    pending = {evaluation_id(benchmark, run.data.name): benchmark for benchmark in _failed_last(benchmarks, run, paths)}
    while pending and not any(failure.kind == "device" for failure in failures.values()):
        identity = next(iter(pending))
        benchmark = pending.pop(identity)
        size = _batch_size(images)
        result = result_of(benchmark, identity, size, smaller=False)
        if isinstance(result, Failure) and result.kind == "memory":
            smaller = max(1, size // _SMALLER)
            _log.warning("%s; tried again on %d images at a time instead of %d", result.message, smaller, size)
            _free_memory()
            result = result_of(benchmark, identity, smaller, smaller=True)
        if isinstance(result, Failure):
            failures[identity] = result
            _free_memory()
        elif result is not None and writer is not None:
            writer.write(result)
            PartialResults(paths.partial_of(generation), identity, "", shard).clear()
    if failures:
        are_refused = all(failure.kind == "input" for failure in failures.values())
        unmeasured = [full_column(benchmark, tag(benchmark)) for benchmark in pending.values()]
        raise (RefusedError if are_refused else EvaluationError)(failures, unmeasured)


def _failed_last(benchmarks: Sequence[AnyBenchmark], run: Run, paths: RunPaths) -> list[AnyBenchmark]:
    """Return the benchmarks in order, those that failed in an earlier attempt behind the others."""
    failed = {
        identity
        for attempt in paths.attempts("evaluate")
        for record in read(paths.journal("evaluate", attempt)).records
        if isinstance(record, Failed)
        for identity in record.benchmarks
    }
    return sorted(benchmarks, key=lambda benchmark: evaluation_id(benchmark, run.data.name) in failed)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
    spread. Raises CebctlError if it is no number that a result can hold."""
    name, unit = measurement.name, measurement.unit
    if isinstance(measurement, Summary):
        return _checked(Measure(name=name, unit=unit, total=measurement.total, value=measurement.value))
    total = len(measurement.values_M)
    if unit in ("accuracy", "success"):
        return Measure(name=name, unit=unit, total=total, correct=int(measurement.values_M.sum()))
    values_M = measurement.values_M.double()
    std = values_M.std().item() if unit != "share" and total > 1 else None
    return _checked(Measure(name=name, unit=unit, total=total, value=values_M.mean().item(), std=std))


def _checked(measure: Measure) -> Measure:
    for number, what in ((measure.value, "value"), (measure.std, "standard deviation")):
        if number is not None and not (math.isfinite(number) and abs(number) <= LARGEST_VALUE):
            wrong = f"the {what} of {measure.name} over {measure.total:,} images is {number:g}"
            raise CebctlError(f"{wrong}; a result holds finite numbers up to {LARGEST_VALUE:g}")
    return measure


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
