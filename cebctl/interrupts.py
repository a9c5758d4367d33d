"""Ctrl-C: the message of an interrupted command, and the few steps that must not be interrupted."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptedByUserError(Exception):
    """A command was ended by Ctrl-C; the message says what that left undone."""


def reraise_in_main_thread() -> None:
    """Send a Ctrl-C again that Python drops.

    In a callback, such as the import system's, a KeyboardInterrupt is printed and forgotten, and the command goes on.
    """
    original, main = sys.unraisablehook, threading.main_thread().ident

    def resend(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt) and main is not None:
            threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()  # once the callback is over
        else:
            original(dropped)

    sys.unraisablehook = resend


@contextmanager
def interrupt_message(message: str) -> Iterator[None]:
    """Give a Ctrl-C inside this message, unless it has one already."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(*(error.args or (message,))) from None


@contextmanager
def defer_interrupts(message: str) -> Iterator[None]:
    """Raise a Ctrl-C inside at the end of the block, with this message; a second one at once.

    For steps that are journalled before they are done: after an interruption in between, nobody would know whether
    they were. Only the main thread gets signals, so that in other threads nothing has to be deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, original)

    original = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, original)
    if interrupted:
        raise KeyboardInterrupt(message)
