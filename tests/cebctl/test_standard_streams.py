"""The exit code of a command means what it always does, whatever becomes of its output."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import store.ingest  # noqa: F401  imported once for all forks
from cebctl.app import main
from jobs.journal.files import Journal
from jobs.journal.records import Failed, Started
from jobs.paths import Home

CLOSED, FULL = None, "/dev/full"
Streams = dict[int, str | int | None]
"""What each of the three descriptors is opened on."""


def exit_code(arguments: list[str], streams: Streams, folder: Path) -> int:
    """Return the exit code of `cebctl` in a forked child with these descriptors closed, or opened on a file."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            targets = [streams.get(number, os.devnull) for number in (0, 1, 2)]
            opened = [os.open(target, os.O_RDWR) if isinstance(target, str) else target for target in targets]
            for number, descriptor in enumerate(opened):
                if descriptor is CLOSED:
                    os.close(number)
                else:
                    os.dup2(descriptor, number)
            # As Python begins: a closed stream is None.
            is_open = [streams.get(number, "") is not CLOSED for number in (0, 1, 2)]
            sys.stdin, sys.stdout, sys.stderr = (
                open(number, mode, closefd=False) if there else None  # noqa: SIM115
                for number, mode, there in zip((0, 1, 2), "rww", is_open, strict=True)
            )
            sys.argv = ["cebctl", *arguments]
            os.chdir(folder)
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            (folder / "fault").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


STREAMS: dict[str, Streams] = {
    ">&-": {1: CLOSED},
    "<&- >&- 2>&-": {0: CLOSED, 1: CLOSED, 2: CLOSED},
    "2>/dev/full >&-": {1: CLOSED, 2: FULL},
    ">/dev/full 2>/dev/full": {1: FULL, 2: FULL},
}


@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_an_exit_code_is_kept(finished: Home, small: Path, tmp_path: Path, streams: Streams) -> None:
    lost = 3 if streams.get(1) == FULL else 0  # a result that was not written is no success
    assert exit_code(["status", "small.yaml"], streams, tmp_path) == lost
    assert exit_code(["plan", "none.yaml"], streams, tmp_path) == 2
    run = next(finished.runs.iterdir())
    with Journal(run / "journal" / "evaluate.2.jsonl") as journal:
        journal.write(Started(submission="s2"), Failed(error="x"))
    next(run.glob("journal/evaluate.1.jsonl")).unlink()
    assert exit_code(["status", "small.yaml"], streams, tmp_path) == 1


def test_a_reader_that_has_read_enough_hides_no_failed_run(finished: Home, small: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert exit_code(["status", "small.yaml"], {1: writer}, tmp_path) == 0
    os.close(writer)


def test_a_full_disk_under_the_result_is_said(finished: Home, small: Path) -> None:
    command = [sys.executable, "-m", "cebctl.app", "status", str(small)]
    with Path(FULL).open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (3, "stdout: No space left on device\n")
