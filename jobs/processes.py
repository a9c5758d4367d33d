"""Which process is meant, beyond its number: numbers are reused, the pair of boot and start time is not."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Process:
    """One process of one boot of one machine."""

    host: str
    boot: str
    pid: int
    started: int
    """Clock ticks between boot and its start."""

    @classmethod
    def from_pid(cls, pid: int) -> Process | None:
        """The process that has this number on this machine now, or None; a zombie has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(socket.gethostname(), _boot(), pid, int(fields[19]))

    @classmethod
    def current(cls) -> Process:
        process = cls.from_pid(os.getpid())
        assert process is not None
        return process

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """The inverse of `str`; None for text that names no process."""
        parts = text.split("/")
        if len(parts) != 4 or not parts[2].isdecimal() or not parts[3].isdecimal():
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}"

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if it belongs to another machine, where this one can't look."""
        if self.host != socket.gethostname():
            return None
        return Process.from_pid(self.pid) == self


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, so that no orphan goes on computing."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def describe_signal(signum: int) -> str:
    """What killed a process, in words."""
    hint = " (out of memory?)" if signum == signal.SIGKILL else ""
    return f"killed by signal {signum}, {signal.Signals(signum).name}{hint}"


def keep_memory() -> None:
    """Have this process keep what it frees, for what it allocates next, where the C library is glibc.

    By itself glibc gives large blocks back to the kernel, which clears them page by page when they are wanted again:
    for the tensors of a network on a CPU a tenth to a quarter of each step.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def redirect_output(log: Path) -> None:
    """From now on this process prints, output and errors together, into this file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)
