"""Ctrl-C: what a command says when it is interrupted, and the few steps that it may not be interrupted in."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptedByUserError(Exception):
    """A command was ended by Ctrl-C; the words say where that left things."""


def insist() -> None:
    """Have a Ctrl-C come again that Python drops: in a callback, such as the import system's, it is printed and
    forgotten, and the command would go on."""
    before, main = sys.unraisablehook, threading.main_thread().ident

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt) and main is not None:
            threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()  # once the callback is over
        else:
            before(dropped)

    sys.unraisablehook = again


@contextmanager
def saying(words: str) -> Iterator[None]:
    """A Ctrl-C that nobody inside has words for says these."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(*(error.args or (words,))) from None


@contextmanager
def uninterrupted(words: str) -> Iterator[None]:
    """A Ctrl-C inside is heeded at the end of the block, with these words; a second one at once.

    For what is journalled first and done then: interrupted in between, nobody would know whether it was. Signals come
    to the main thread alone, so elsewhere there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt(words)
