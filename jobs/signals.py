"""The request to stop: the signals by which a scheduler asks a job to end.

Imports nothing that takes time: a job listens before it imports the rest, because a signal that comes earlier
would kill it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

TIME_LIMIT = signal.SIGUSR2
"""Sent ahead of the time limit; not SIGUSR1, which NCCL takes for itself."""


class StopRequest:
    """Turns true once one of the signals was heard."""

    def __init__(self, *signals: signal.Signals, why: Callable[[StopRequest], str] = lambda _: "") -> None:
        self.received: list[signal.Signals] = []
        self.find_reason = why
        for one in signals or (signal.SIGTERM,):
            signal.signal(one, self._hear)

    def _hear(self, signum: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(signum))

    def __call__(self) -> bool:
        return bool(self.received)

    def reason(self) -> str:
        """Why, in a word for `jobs.journal.records.Preempted`; asked once the checkpoint is written."""
        return self.find_reason(self)
