"""The heartbeats and metrics of training in the journal."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from jobs.engine.data.batches import Batch
from jobs.engine.metrics import Meter
from jobs.journal.files import Journal
from jobs.journal.records import Heartbeat, Metrics

HEARTBEAT_SECONDS = 1.0
JOURNAL_SECONDS = 2.0
"""A heartbeat reports it if writing the journal took longer than this since the one before."""


@dataclass
class Stopwatch:
    """Time and images since a moment."""

    since: float = field(default_factory=time.perf_counter)
    images: int = 0
    waited: float = 0.0
    """Seconds spent waiting for data."""

    def images_per_second(self) -> float:
        return self.images / max(time.perf_counter() - self.since, 1e-9)

    def data_wait_share(self) -> float:
        return self.waited / max(time.perf_counter() - self.since, 1e-9)


class Progress:
    """Writes at most one heartbeat a second, and metrics at each call; nothing without a journal."""

    def __init__(self, journal: Journal | None, device: str, steps: int, steps_per_epoch: int) -> None:
        self._journal, self._device = journal, device
        self._steps, self._steps_per_epoch = steps, steps_per_epoch
        self._beaten = self._journal_seconds = 0.0
        self._beat_watch, self._metrics_watch = Stopwatch(), Stopwatch()

    def time_loading(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the same batches, and add the time that loading each takes to the metrics."""
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(iterator, None)
            self._metrics_watch.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def beat(self, step: int, images: int, activity: str = "") -> None:
        """Count the images of a step, and write a heartbeat if one is due. `activity` is reported instead of
        `training`."""
        self._beat_watch.images += images
        self._metrics_watch.images += images
        if self._journal is None or time.perf_counter() - self._beaten < HEARTBEAT_SECONDS:
            return
        delay, self._journal_seconds = self._journal.seconds - self._journal_seconds, self._journal.seconds
        if delay >= JOURNAL_SECONDS and not activity:
            activity = f"training, held up for {delay:.0f} s by writing the journal"
        self._journal.write(
            Heartbeat(
                step=step,
                steps=self._steps,
                epoch=step / self._steps_per_epoch,
                epochs=self._steps / self._steps_per_epoch,
                images_per_second=self._beat_watch.images_per_second(),
                memory_mb=memory_mb(self._device),
                activity=activity or "training",
            )
        )
        self._beaten, self._beat_watch = time.perf_counter(), Stopwatch()

    def write_metrics(self, step: int, meter: Meter, **extra: float) -> None:
        """Write the means of a meter at this step, with speed, memory and the share of time spent waiting for data
        since the metrics before."""
        watch, self._metrics_watch = self._metrics_watch, Stopwatch()
        values: dict[str, float | None] = {
            **meter.means(),
            **extra,
            "steps_averaged": float(meter.steps),
            "images_per_second": watch.images_per_second(),
            "data_wait_share": watch.data_wait_share(),
            "memory_mb": memory_mb(self._device),
        }
        if self._journal is not None:
            self._journal.write(Metrics(step=step, epoch=step / self._steps_per_epoch, values=values))


def memory_mb(device: str) -> float:
    """Return the peak of memory on the GPU, or of the process where there is none, in MB of 10^6 bytes."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
