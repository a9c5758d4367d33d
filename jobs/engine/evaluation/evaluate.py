"""The evaluate stage: the benchmarks of one run on its last checkpoint, one `Result` in the journal for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from experiments import lineage, numerics
from experiments.benchmarks import AnyBenchmark, full_column
from experiments.errors import CebctlError, InputError
from experiments.identity import evaluation_id, run_id
from experiments.spec import Run
from jobs import per_sample, provenance
from jobs.engine import checkpoint_format, data
from jobs.engine.attacks.precision import full_precision
from jobs.engine.data import ImageSet
from jobs.engine.errors import BenchmarkError, EvaluationError, is_fatal
from jobs.engine.evaluation import source_model, training_history
from jobs.engine.evaluation.evaluators import EVALUATORS, Found, Subject, Summary
from jobs.engine.evaluation.partial_results import PartialNotes, origin
from jobs.engine.evaluation.sharding import Share
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
    share: Share | None = None,
    generation: int = 1,
) -> None:
    """Write the results of `benchmarks`, in order, to the journal; `engine` is the digest of the code that made them,
    `generation` the one in which they are measured.

    Goes on at the batch where an attempt before was stopped or killed. `share` is what this process measures of
    the batches: None takes its place in the torch.distributed group, or the whole where there is none. The first
    process of a group writes for all; the others need no journal. Of several jobs, each with its share and
    journal, the last to be done writes the result.

    A benchmark that can't be run as asked, or that meets an error nobody foresaw, leaves the others alone: at the end
    InputError names each, or EvaluationError if one of the second kind is among them. Raises InputError at once if the
    images or a checkpoint are not there, Stopped between two batches if asked to stop, and at once what is_fatal.
    """
    share = Share.of_group() if share is None else share
    trained = checkpoint_format.load_model(run, paths.checkpoints)
    model = trained.model.to(device)
    images = data.load(run.data, "test", data_root)
    other = partial(source_model.trained_model, tested=run, paths=paths, device=device)
    load = partial(data.load, run.data, root=data_root)
    epochs = partial(
        training_history.epochs,
        [*(newest_complete(paths.beside(run_id(one))) for one in lineage.ancestors(run)), paths],
    )
    faults: list[CebctlError] = []
    for benchmark in benchmarks:
        identity = evaluation_id(benchmark, run.data.name)
        activity = full_column(benchmark, _name(benchmark))
        watch = _Watch(journal if share.writes else None, device, should_stop, activity)
        versions = numerics.evaluation_versions(run, benchmark)
        made_by = origin(trained.file, versions, device)
        notes = PartialNotes(paths.partial_of(generation), identity, made_by, share)
        new_subject = partial(
            Subject,
            images,
            device,
            _batch_size(images),
            watch,
            other,
            load,
            data_root,
            share,
            notes,
            epochs,
            run.objective,
        )
        try:
            with full_precision(device):
                found, subject = _walk(model, new_subject, benchmark, run.seed)
                if not subject.complete:  # other jobs have a share of it, and may be done meanwhile
                    notes.reread()
                    found, subject = _walk(model, new_subject, benchmark, run.seed)
        except InputError as error:
            faults.append(error)
            continue
        except Exception as error:
            # A signal reaches the processes that read images too: what their end raises is no fault of the benchmark.
            if is_fatal(error) or should_stop():
                raise
            faults.append(BenchmarkError(activity, error))
            continue
        finally:
            notes.close()
        if journal is not None and share.writes and subject.complete:
            journal.write(_result(identity, benchmark, found, subject, trained.step, engine, versions, generation))
            notes.forget()
    if not all(isinstance(fault, InputError) for fault in faults):
        raise EvaluationError(faults)
    if faults:
        raise InputError("evaluate", "; ".join(map(str, faults)))


def _walk(
    model: CebModel, new_subject: Callable[[], Subject], benchmark: AnyBenchmark, seed: int
) -> tuple[list[Found | Summary], Subject]:
    subject = new_subject()
    return list(EVALUATORS[type(benchmark)](model, subject, benchmark, seed)), subject


def _result(
    identity: str,
    benchmark: AnyBenchmark,
    found: Sequence[Found | Summary],
    subject: Subject,
    step: int,
    engine: str,
    versions: dict[str, int],
    generation: int,
) -> Result:
    return Result(
        evaluation_id=identity,
        benchmark=benchmark,
        data_digest=subject.digest(),
        checkpoint_step=step,
        engine=engine,
        measures=[measure(one) for one in found] + _left_out(subject),
        per_sample=_flags(found, subject.largest),
        seconds=subject.seconds,
        libraries=provenance.library_versions(),
        numerics=versions,
        generation=generation,
    )


def measure(found: Found | Summary) -> Measure:
    """The number that stands for all images: a count for an accuracy or a success, else the mean and its spread."""
    if isinstance(found, Summary):
        return Measure(name=found.name, unit=found.unit, total=found.total, value=found.value)
    total = len(found.values_M)
    if found.unit in ("accuracy", "success"):
        return Measure(name=found.name, unit=found.unit, total=total, correct=int(found.values_M.sum()))
    values_M = found.values_M.double()
    std = values_M.std().item() if found.unit != "share" and total > 1 else None
    return Measure(name=found.name, unit=found.unit, total=total, value=values_M.mean().item(), std=std)


def _flags(found: Sequence[Found | Summary], count: int) -> str | None:
    """The first accuracy, image by image over the whole image set; an image that was not measured counts as wrong."""
    for one in found:
        if isinstance(one, Found) and one.unit == "accuracy" and "/" not in one.name:  # `fog/3`: of one set among many
            flags_N = torch.zeros(count, dtype=torch.bool)
            flags_N[one.samples_M] = one.values_M
            return per_sample.pack(flags_N.tolist())
    return None


def _left_out(subject: Subject) -> list[Measure]:
    """The share of the images that could not be decoded, if any."""
    if not subject.corrupt:
        return []
    share = subject.corrupt / subject.asked
    return [Measure(name="corrupt_images", unit="share", total=subject.asked, value=share)]


def _batch_size(images: ImageSet) -> int:
    return 500 if images.info.size <= 32 else 100


def _name(benchmark: AnyBenchmark) -> str:
    return str(type(benchmark).__struct_config__.tag)


@dataclass
class _Watch:
    """Heartbeats, and the place where a request to stop is heard."""

    journal: Journal | None
    """None for a process that does not report."""
    device: str
    should_stop: Callable[[], bool]
    activity: str
    started: float = field(default_factory=time.monotonic)
    last: float = float("-inf")
    found: int | None = None
    """Images that were done before this attempt began."""

    def __call__(self, done: int, total: int) -> None:
        if self.should_stop():
            raise Stopped
        now = time.monotonic()
        if self.found is None:
            self.found = done
        if self.journal is None or now - self.last < HEARTBEAT_SECONDS:
            return
        self.last = now
        speed = (done - self.found) / (now - self.started) if done > self.found else None
        memory = memory_mb(self.device)
        self.journal.write(
            Heartbeat(step=done, steps=total, images_per_second=speed, memory_mb=memory, activity=self.activity)
        )
