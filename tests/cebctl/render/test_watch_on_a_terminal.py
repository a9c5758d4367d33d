"""`status --watch` on a terminal whose size changes, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import msgspec

from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Claim, Launched, Submitted
from jobs.paths import Home
from jobs.processes import Process

ROOT = Path(__file__).parents[3]
MATRIX = """
base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 4, batch: 256}
grids: [{objective: [ceb, vib], rho: {from: 0, to: 40, by: 1}}]
"""


def resize(terminal: int, lines: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def frame(terminal: int, lines: int, columns: int, seconds: float = 60) -> list[str]:
    """The first frame that fits, as the text of its lines; the last one if none does in time."""
    buffer, deadline, shown = "", time.monotonic() + seconds, [""]
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            buffer += os.read(terminal, 65536).decode(errors="replace")
        *frames, buffer = buffer.split("\x1b[H")
        for text in frames:
            shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "").split("\n")
            if len(shown) == lines and max(map(len, shown)) == columns:
                return shown
    return shown


def test_it_fills_the_terminal_again_when_that_is_resized(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text(MATRIX)
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(Submitted(name="s1", matrix="wide", matrix_path=str(path), executor="local", code="c"))
        for planned in load(path).runs:
            spec = msgspec.to_builtins(planned.run)
            journal.write(Claim(run_id=planned.run_id, label=planned.name, stage="train", spec=spec, benchmarks=[]))
        journal.write(Launched(job="s1-0", executor_id=str(Process.current()), pid=os.getpid()))  # we live
    terminal, theirs = pty.openpty()
    resize(terminal, 30, 100)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
    watcher = subprocess.Popen(
        [sys.executable, "-m", "cebctl.app", "status", str(path), "--watch"],
        stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    try:
        large = frame(terminal, 30, 100)
        assert len(large) == 30 and large[0].startswith("wide  82 runs: 82 queued"), large
        resize(terminal, 8, 40)
        small = frame(terminal, 8, 40)
        assert (len(small), max(map(len, small))) == (8, 40), small
        assert small[0].startswith("wide  ")
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(timeout=60) == 130
    finally:
        watcher.kill()
        os.close(terminal)
