"""On a narrow terminal lines are broken between words and tables fit; in a pipe nothing is broken."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.journal.records import Failed, Started
from jobs.paths import Home
from tests.cebctl.conftest import SMALL, claim, evaluate, submitted, train

ROOT = Path(__file__).parents[3]
ERROR = "IndexError: index -5 is out of bounds for dimension 1 with a size of 4, which is said at length here"
DEEP = "  File " + "x" * 100


@pytest.fixture
def failed(home: Path, tmp_path: Path) -> str:
    """The id of the run that failed in its evaluation, of a matrix m.yaml of three."""
    path, home_paths = tmp_path / "m.yaml", Home(home)
    path.write_text(SMALL)
    first, *successful = load(path).runs
    with Journal(home_paths.submission("s1")) as journal:
        claims = [claim(run, stage) for run in (first, *successful) for stage in ("train", "evaluate")]
        journal.write(submitted("s1", path), *claims)
    for run in (first, *successful):
        train(home_paths, run)
    for run in successful:
        evaluate(home_paths, run)
    with Journal(home_paths.run(first.run_id).journal("evaluate", 1)) as journal:
        traceback = f"Traceback:\n{DEEP}"
        journal.write(Started(submission="s1", host="node-17.cluster"), Failed(error=ERROR, traceback=traceback))
    return first.run_id


def on_a_terminal(columns: int, folder: Path, *arguments: str) -> list[str]:
    """The lines that a command writes to stdout and stderr, both a terminal of this width."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "CI")}
    command = subprocess.Popen(
        [sys.executable, "-m", "cebctl.app", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder,
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(terminal, 65536):
            output += piece
    except OSError:  # Linux's way of saying that nobody is at the other end any more
        pass
    os.close(terminal)
    command.wait(timeout=60)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode()).replace("\r", "").split("\n")


def _words(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(("arguments", "text"), [
    (("status", "m.yaml"), ERROR),
    (("status",), "2 done, 1 failed"),
    (("data", "list"), "imagenet missing 1,281,167 + 50,000"),
    (("show", "xent"), "which is said at length here train.1 succeeded"),
    (("show", "ceb rho=3"), "succeeded"),
    (("show", "ceb"), "it could be any of 2;"),
    (("report", "m.yaml", "--html", "."), "file '.' is a directory; see"),
    (("report", "m.yaml", "--only", "nonsense=1"), "unknown field 'nonsense'; allowed: adversary, adversary.norm,"),
])  # fmt: skip
def test_a_narrow_terminal_is_kept_to(failed: str, tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    lines = on_a_terminal(60, tmp_path, *arguments)
    paths = [line for line in lines if len(line.split()) == 1 and "/" in line]  # a path is one word
    assert not [line for line in lines if len(line.rstrip()) > 60 and line not in paths]
    assert text in _words(lines)


def test_a_journals_line_is_broken_between_words_and_a_traceback_never(failed: str, tmp_path: Path) -> None:
    lines = on_a_terminal(60, tmp_path, "logs", "xent")
    assert [line for line in lines if line.startswith(DEEP)]
    assert ERROR in _words(lines)
    assert not [line for line in lines if len(line) > 60 and not line.startswith(DEEP)]


@pytest.mark.parametrize(("arguments", "text"), [
    (("status", "m.yaml"), f"failed  evaluate  {ERROR}"),
    (("status",), "m.yaml"),
    (("logs", "xent"), f"error {ERROR}"),
    (("report", "m.yaml"), f"missing, failed: {ERROR}: xent"),
])  # fmt: skip
def test_a_pipe_gets_a_fact_a_line(failed: str, cebctl, arguments: tuple[str, ...], text: str) -> None:
    answer = cebctl(*arguments, COLUMNS="60")
    assert any(text in line for line in answer.out.splitlines()), answer
