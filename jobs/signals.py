"""The request to stop: the signals by which a scheduler asks a job to end.

Imports nothing slow: a job installs the handlers before its other imports, because an earlier signal would kill it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

TIME_LIMIT = signal.SIGUSR2
"""Sent ahead of the time limit; not SIGUSR1, which NCCL uses itself."""


class StopRequest:
    """A flag that one of the signals sets; call it to read the flag."""

    def __init__(self, *signals: signal.Signals, find_reason: Callable[[StopRequest], str] = lambda _: "") -> None:
        self.received: list[signal.Signals] = []
        self.find_reason = find_reason
        for number in signals or (signal.SIGTERM,):
            signal.signal(number, self._receive)

    def _receive(self, signum: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(signum))

    def __call__(self) -> bool:
        return bool(self.received)

    def reason(self) -> str:
        """Return the reason as a word for `Preempted.reason`; call it once the checkpoint is written."""
        return self.find_reason(self)
