"""The output of commands: quiet, verbose, plain, without a terminal, and when they are interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cebctl.interrupts import defer_interrupts, interrupt_message
from cebctl.render import output_mode
from experiments.atomic_files import replacing
from experiments.matrix.load import load
from jobs.paths import Home

FRAMES = re.compile(r"[─│╭╮╰╯━█▓▒░\x1b\r]")


def test_quiet_says_nothing_but_results_and_errors(cebctl, tiny: Path) -> None:
    assert cebctl("submit", tiny, "--only", "objective=xent", "--wait", "-q").err == ""
    assert cebctl("-q", "submit", tiny, "--only", "objective=xent").err == ""
    status = cebctl("status", tiny, "-q")
    assert (status.err, "1 done" in status.out) == ("", True)
    wrong = cebctl("-q", "plan", "nix.yaml")
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)
    assert wrong.err.startswith("nix.yaml: No such file or directory; did you mean 'tiny.yaml'?")


def test_a_fault_of_our_own_is_one_line_and_a_traceback_on_demand(cebctl, tmp_path: Path) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import experiments.matrix.load\ndef load(path): return 1 / 0\nexperiments.matrix.load.load = load\n"
    )
    path = f"{tmp_path}:{Path(__file__).parents[2]}"
    answer = cebctl("plan", "any.yaml", PYTHONPATH=path)
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "ZeroDivisionError" in answer.err and "--debug shows where" in answer.err
    assert "Traceback" in cebctl("plan", "any.yaml", "--debug", PYTHONPATH=path).err


@pytest.mark.parametrize("how", [("--plain", {}), ("-v", {"CEBCTL_PLAIN": "1"})])
def test_plain_is_one_fact_a_line(
    call, tiny: Path, how: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    option, variables = how
    for name, value in {"FORCE_COLOR": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    plan = call("plan", tiny, option).out
    assert "ceb: axes: rho 3, 0\nceb: runs: 2\nceb: states: 2 new\n" in plan
    assert not FRAMES.search(plan)
    for command in (("doctor",), ("data", "list"), ("status", tiny), ("report", tiny)):
        output = call(*command, option).out
        assert output and not FRAMES.search(output)
        assert "  " not in output, command  # nothing is lined up


def test_status_and_report_are_plain_line_by_line(call, tiny: Path) -> None:
    first = load(tiny).runs[0]
    assert f"{first.run_id} xent: state: new\n" in call("status", tiny, "--plain").out
    report = call("report", tiny, "--plain").out
    assert re.search(r"^ceb 3: clean: not run$", report, re.MULTILINE)


def test_a_log_is_never_drawn_over_and_verbose_says_what_is_done(cebctl, tiny: Path) -> None:
    answer = cebctl("submit", tiny, "--only", "objective=xent", "--wait", "-v", FORCE_COLOR="1", CI="true")
    assert "[1/1] xent: done" in re.sub(r"\x1b\[[\d;]*m", "", answer.err)
    assert not re.search(r"\x1b\[\?|\x1b\[\d*[AHJK]|\r", answer.err)
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} starting 1 local workers: ", answer.err, re.MULTILINE)
    assert re.search(r"store\.sqlite: \d+ new records \(\d+\.\d\d s\)$", answer.err, re.MULTILINE)
    assert "new records" not in cebctl("status", tiny).err


def test_colours_are_for_those_who_see_them(call, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[(\d+;)*3\dm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colour.search(call("data", "list").out)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(call("data", "list").out)
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b" not in call("data", "list").out


def test_a_terminal_is_drawn_over_unless_it_is_asked_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setenv("TERM", "xterm")
    for option in (None, "verbose", "quiet", "plain"):
        output_mode.reset()
        output_mode.enable(**({option: True} if option else {}))
        assert output_mode.is_live() == (option is None)
    output_mode.reset()
    assert output_mode.is_live()
    monkeypatch.setenv("TERM", "dumb")
    assert not output_mode.is_live()


# --- Ctrl-C ---


def _interrupted(process) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_an_interrupted_wait_says_that_the_runs_go_on(cebctl, start, tiny: Path, home: Path) -> None:
    tiny.write_text(tiny.read_text().replace("epochs: 4", "epochs: 30"))
    process = start("submit", tiny, "--only", "objective=xent", "--wait")
    while not list(Home(home).runs.glob("*/journal/*")):
        time.sleep(0.05)
    code, out, err = _interrupted(process)
    assert (code, out) == (130, "")
    last = err.splitlines()[-1]
    assert re.match("(stopped watching|interrupted), .*`cebctl status .*` shows .*`cebctl cancel ", last)
    assert len(err.splitlines()) <= 4 and "Traceback" not in err
    assert cebctl("status", tiny, "--only", "objective=xent", "--watch", "-q").code == 0  # it did go on


def test_words_are_those_of_whoever_was_at_it() -> None:
    with pytest.raises(KeyboardInterrupt, match="inner"), interrupt_message("outer"), interrupt_message("inner"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt, match="outer"), interrupt_message("outer"):
        raise KeyboardInterrupt


def test_some_steps_are_done_to_their_end_first() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt, match="under way"), defer_interrupts("it is under way"):
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all")
    assert done == ["all"]
    with pytest.raises(KeyboardInterrupt), defer_interrupts("it is under way"):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("more")
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_ctrl_c_that_python_would_drop_comes_again() -> None:
    script = """
import os, signal, time
from cebctl.interrupts import reraise_in_main_thread
reraise_in_main_thread()
class Fragile:
    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1)
Fragile()
time.sleep(60)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode != 0 and done.stdout == ""
    assert "ignored" not in done.stderr


def test_outside_the_main_thread_there_is_nothing_to_hold_back() -> None:
    def work() -> None:
        with defer_interrupts("words"):
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "before")]
    with replacing(path) as beside:
        beside.write_text("whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "whole")]
