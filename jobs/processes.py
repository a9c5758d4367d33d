"""Processes by an identity that is never reused: number, boot and start time. Also settings of a job's own process."""

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
        """Return the process that has this number on this machine now, or None; a zombie has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else cls(socket.gethostname(), boot, pid, int(fields[19]))

    @classmethod
    def current(cls) -> Process:
        process = cls.from_pid(os.getpid())
        assert process is not None
        return process

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """Invert `str`; return None for text that names no process."""
        parts = text.split("/")
        if len(parts) != 4 or not parts[2].isdecimal() or not parts[3].isdecimal():
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}"

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if it belongs to another machine, whose processes can't be seen from here."""
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
    """Return the cause of a process's death for a message."""
    hint = " (out of memory?)" if signum == signal.SIGKILL else ""
    return f"killed by signal {signum}, {signal.Signals(signum).name}{hint}"


def keep_memory() -> None:
    """Let this process keep freed memory for its next allocations, where the C library is glibc.

    By default glibc returns large blocks to the kernel, which clears them page by page at the next allocation. For the
    tensors of a network on a CPU that costs a tenth to a quarter of each step.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def redirect_output(log: Path) -> None:
    """Send the output and the errors of this process into one file from now on."""
    log.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)
