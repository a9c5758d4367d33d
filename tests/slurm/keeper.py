"""Keeps a lab's daemons: starts them on request, and ends them and all they started when the lab's owner is gone.

    python keeper.py FOLDER [--owner PID]

Requests are lines in the FIFO `FOLDER/requests`: `start NAME` (a key of `FOLDER/daemons.json`) or `end`. The number of
each running daemon stands in `FOLDER/pids/NAME`, and `ended` there once it has ended. The keeper adopts what its
descendants leave behind (a slurmstepd leaves its slurmd at once), so that nothing escapes it, and removes the folder
as its last act.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.1


class Keeper:
    """The daemons of one folder, and who watches over whom."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._commands: dict[str, list[str]] = json.loads((folder / "daemons.json").read_text())
        # The objects are kept for what they do when they go: reap their process, which is for `_reap` alone.
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def keep(self, owner: int | None) -> None:
        """Serve requests until asked to end, or until the owner has ended, however it did."""
        requests = os.open(self._folder / "requests", os.O_RDWR)
        watched = [requests]
        if owner is not None:
            try:
                watched.append(os.pidfd_open(owner))
            except ProcessLookupError:
                return
        while True:
            ready, _, _ = select.select(watched, [], [], _LOOK_SECONDS)
            self._reap(os.WNOHANG)
            if any(descriptor != requests for descriptor in ready):
                return
            for line in os.read(requests, 4096).decode().splitlines() if ready else ():
                action, _, name = line.partition(" ")
                if action == "end":
                    return
                self._start(name)

    def end(self) -> None:
        """Kill every descendant. Children suffice: theirs become ours in turn."""
        while children := descendants(os.getpid(), depth=1):
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap(0)

    def _start(self, name: str) -> None:
        with (self._folder / "log" / f"{name}.out").open("ab") as out:
            daemon = subprocess.Popen(
                self._commands[name], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._running[daemon.pid] = name, daemon
        self._say(name, str(daemon.pid))

    def _reap(self, option: int) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, option)[0]:
                option = os.WNOHANG
                if pid in self._running:
                    self._say(self._running.pop(pid)[0], "ended")

    def _say(self, name: str, state: str) -> None:
        new = self._folder / "pids" / f".{name}"
        new.write_text(state)
        new.rename(self._folder / "pids" / name)


def descendants(root: int, depth: int = 1000) -> list[int]:
    """The numbers of the processes below this one, down to a depth, as `/proc` shows them now."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(stat.parent.name))
    found, generation = [], [root]
    while generation and depth:
        generation = [child for pid in generation for child in below.get(pid, ())]
        found += generation
        depth -= 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", type=int)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: exit(0))
    keeper = Keeper(arguments.folder)
    try:
        keeper.keep(arguments.owner)
    finally:
        keeper.end()
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
