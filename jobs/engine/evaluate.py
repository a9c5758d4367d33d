"""The evaluate stage: the benchmarks of one run on its last checkpoint, one `Result` in the journal for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from experiments.benchmarks import AnyBenchmark, full_column
from experiments.errors import InputError
from experiments.identity import evaluation_id
from experiments.spec import Run
from jobs import per_sample
from jobs.engine import checkpoint, data, source
from jobs.engine.attacks.precision import full_precision
from jobs.engine.data import FolderImages, ImageSet
from jobs.engine.evaluators import EVALUATORS, Found, Subject
from jobs.engine.progress import HEARTBEAT_SECONDS, memory_mb
from jobs.errors import Stopped
from jobs.home import RunPaths
from jobs.journal import Heartbeat, Journal, Measure, Result


def evaluate(
    run: Run,
    benchmarks: Sequence[AnyBenchmark],
    paths: RunPaths,
    journal: Journal,
    data_root: Path,
    device: str,
    should_stop: Callable[[], bool],
    engine: str,
) -> None:
    """Write the results of `benchmarks`, in order, to the journal; `engine` is the digest of the code that made them.

    A benchmark that can't be run as asked leaves the others alone: InputError at the end names each. Raises
    InputError at once if the images or a checkpoint are not there, Stopped between two batches if asked to stop.
    """
    model, step = checkpoint.load_model(run, paths.checkpoints)
    model = model.to(device)
    images = data.load(run.data, "test", data_root)
    other = partial(source.trained_model, tested=run, paths=paths, device=device)
    faults = []
    for benchmark in benchmarks:
        watch = _Watch(journal, device, should_stop, full_column(benchmark, _name(benchmark)))
        subject = Subject(images, device, _batch_size(images), watch, other)
        try:
            with full_precision(device):
                found = list(EVALUATORS[type(benchmark)](model, subject, benchmark, run.seed))
        except InputError as error:
            faults.append(str(error))
            continue
        journal.write(
            Result(
                evaluation_id=evaluation_id(benchmark, run.data.name),
                benchmark=benchmark,
                data_digest=images.digest,
                checkpoint_step=step,
                engine=engine,
                measures=[measure(one) for one in found] + _left_out(images),
                per_sample=_flags(found, len(images)),
                seconds=watch.seconds(),
            )
        )
    if faults:
        raise InputError("evaluate", "; ".join(faults))


def measure(found: Found) -> Measure:
    """The number that stands for all images: a count for an accuracy or a success, else the mean and its spread."""
    total = len(found.values_M)
    if found.unit in ("accuracy", "success"):
        return Measure(name=found.name, unit=found.unit, total=total, correct=int(found.values_M.sum()))
    values_M = found.values_M.double()
    std = values_M.std().item() if found.unit != "share" and total > 1 else None
    return Measure(name=found.name, unit=found.unit, total=total, value=values_M.mean().item(), std=std)


def _flags(found: Sequence[Found], count: int) -> str | None:
    """The first accuracy, image by image over the whole test set; an image that was not measured counts as wrong."""
    for one in found:
        if one.unit == "accuracy":
            flags_N = torch.zeros(count, dtype=torch.bool)
            flags_N[one.samples_M] = one.values_M
            return per_sample.pack(flags_N.tolist())
    return None


def _left_out(images: ImageSet) -> list[Measure]:
    """The share of test images that could not be decoded, if any."""
    if not isinstance(images, FolderImages) or not images.corrupt:
        return []
    return [Measure(name="corrupt_images", unit="share", total=len(images), value=len(images.corrupt) / len(images))]


def _batch_size(images: ImageSet) -> int:
    return 500 if images.info.size <= 32 else 100


def _name(benchmark: AnyBenchmark) -> str:
    return str(type(benchmark).__struct_config__.tag)


@dataclass
class _Watch:
    """Heartbeats, and the place where a request to stop is heard."""

    journal: Journal
    device: str
    should_stop: Callable[[], bool]
    activity: str
    started: float = field(default_factory=time.monotonic)
    last: float = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        if self.should_stop():
            raise Stopped
        now = time.monotonic()
        if now - self.last < HEARTBEAT_SECONDS:
            return
        self.last = now
        speed = done / (now - self.started) if done else None
        memory = memory_mb(self.device)
        self.journal.write(
            Heartbeat(step=done, steps=total, images_per_second=speed, memory_mb=memory, activity=self.activity)
        )

    def seconds(self) -> float:
        return time.monotonic() - self.started
