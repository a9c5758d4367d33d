"""Checkpoints written while training goes on: copied by the loop, written by a thread, one at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from jobs.engine import checkpoint_format
from jobs.engine.training.train_state import TrainState
from jobs.journal.files import Journal
from jobs.journal.records import Checkpointed

_log = logging.getLogger(__name__)

REPORTED_AFTER_SECONDS = 10.0
"""A write that lasts longer is reported in the heartbeats."""
POLL_SECONDS = 0.5
"""The time between two heartbeats of a wait."""


@dataclass
class Write:
    """A checkpoint that is under way."""

    step: int
    written: Future[tuple[Path, float]]
    """The file, and the seconds it took to write."""
    blocked_seconds: float
    """The time that the loop has waited for it."""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Return the time since it began."""
        return time.monotonic() - self.began


class AsyncCheckpointer:
    """Writes a state every so many `seconds`, from start to start, and at each call of `start`.

    None is due while another is being written, so that a slow file system makes checkpoints rarer and training no
    slower; with 0 seconds every step waits for its own. A checkpoint is on the disk when it is journalled. Leaving the
    `with` block waits for the one under way: nothing is written after the record of the run's end.
    """

    def __init__(self, state: TrainState, folder: Path, journal: Journal | None, seconds: float) -> None:
        self._state, self._folder, self._journal, self._seconds = state, folder, journal, seconds
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._write: Write | None = None
        self._began = time.monotonic()

    def __enter__(self) -> AsyncCheckpointer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except Exception as error:
            if kind is None:
                raise
            _log.warning("%s: the last checkpoint was not written: %s", self._folder, error)
        finally:
            self._thread.shutdown()

    @property
    def is_due(self) -> bool:
        """Return True if it is time for the next one."""
        return time.monotonic() - self._began >= self._seconds and (self._write is None or self._seconds == 0)

    @property
    def activity(self) -> str:
        """Return what a heartbeat says of a slow write; empty if there is none."""
        if self._write is None or self._write.seconds < REPORTED_AFTER_SECONDS:
            return ""
        return f"writing the checkpoint of step {self._write.step} for {self._write.seconds:.0f} s"

    def start(self, beat: Callable[[str], None]) -> None:
        """Copy the state and start writing it, once the write before has ended. Raises DivergedError if a weight is no
        finite number, and the error of the write before."""
        self.wait(beat)
        before = time.perf_counter()
        # A copy, because the loop changes the weights while the thread writes.
        step, content = self._state.step, self._state.content()
        written = self._thread.submit(_timed, lambda: checkpoint_format.write(self._folder, step, content))
        self._write = Write(step, written, time.perf_counter() - before)
        self._began = self._write.began

    def wait(self, beat: Callable[[str], None] = lambda activity: None) -> None:
        """Wait for the write under way, if any, and call `beat` every POLL_SECONDS meanwhile."""
        if self._write is None:
            return
        before = time.perf_counter()
        while not futures.wait([self._write.written], POLL_SECONDS).done:
            beat(f"waiting for the checkpoint of step {self._write.step}")
        self._write.blocked_seconds += time.perf_counter() - before
        self.poll()

    def poll(self) -> None:
        """Journal the checkpoint under way if it is written by now; raise the error of its write."""
        if self._write is None or not self._write.written.done():
            return
        done, self._write = self._write, None
        file, seconds = done.written.result()
        self._state.last_checkpoint = file
        if self._journal is not None:
            self._journal.write(
                Checkpointed(step=done.step, file=file.name, seconds=seconds, held_seconds=done.blocked_seconds)
            )
        if 0 < self._seconds < seconds:
            _log.warning(
                "%s: the checkpoint of step %d took %.0f s to write, more than the %g s between checkpoints: "
                "the file system is slow",
                self._folder, done.step, seconds, self._seconds,
            )  # fmt: skip


def _timed(write: Callable[[], Path]) -> tuple[Path, float]:
    before = time.perf_counter()
    return write(), time.perf_counter() - before
