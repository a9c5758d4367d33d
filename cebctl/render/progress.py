"""Staying until every run has ended: a live display on a terminal, plain lines elsewhere.

Neither a lost store nor a silent Slurm ends the watching: the last look stays, with a word, until there is a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.live import Live
from rich.markup import escape

from cebctl.render import output_mode
from cebctl.render.console import error_console, format_duration, progress_console
from cebctl.render.status_view import reason, summary
from cebctl.render.watch_view import Picture
from cebctl.status.polling import Snapshot
from cebctl.status.states import RunStatus
from experiments.errors import UnreachableError
from experiments.matrix.planned_run import Matrix

POLL_SECONDS = 0.5
_SHARE = 4
"""A look that took a second is followed by this many of rest: a login node is shared."""

Look = Callable[[], Snapshot]


def watch(matrix: Matrix, look: Look) -> Snapshot:
    """Look until nothing is queued or running any more, and return the last look.

    Ctrl-C ends the watching, not the runs, and says so.
    """
    try:
        return _live(matrix, look) if output_mode.is_live() else _lines(look)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped watching, the runs go on: `cebctl status {matrix.path} --watch` shows them, "
            f"`cebctl cancel {matrix.path}` stops them"
        ) from None


def _active(runs: Sequence[RunStatus]) -> bool:
    return any(run.state in ("queued", "running") for run in runs)


def _again(look: Look, last: Snapshot) -> Snapshot:
    """Another look; the last one, with the reason, if there is none to be had now."""
    try:
        return look()
    except (UnreachableError, OSError) as error:
        since = next((w for w in last.warnings if w.startswith(_AS_OF)), f"{_AS_OF} {time.strftime('%H:%M:%S')}")
        return replace(last, warnings=(since, str(error)))


_AS_OF = "this is as of"


def _live(matrix: Matrix, look: Look) -> Snapshot:
    """On a screen of its own, drawn anew between two looks as well, so that a resized terminal is filled again."""
    began = time.monotonic()
    seen = look()
    before = sum(run.state == "done" for run in seen.runs)
    with Live(console=error_console(), auto_refresh=False, screen=True) as live:
        while _active(seen.runs):
            picture = Picture(matrix, seen, before, time.monotonic() - began)
            live.update(picture.text(*live.console.size), refresh=True)
            started = time.monotonic()
            seen = _again(look, seen)
            rest = time.monotonic() + max(POLL_SECONDS, _SHARE * (time.monotonic() - started))
            while time.monotonic() < rest:
                picture = Picture(matrix, seen, before, time.monotonic() - began)
                live.update(picture.text(*live.console.size), refresh=True)
                time.sleep(min(POLL_SECONDS, max(rest - time.monotonic(), 0.01)))
    progress_console().print(f"{matrix.path}: {summary(seen.runs)} in {format_duration(time.monotonic() - began)}")
    return seen


def _lines(look: Look) -> Snapshot:
    """A line whenever a run moves on: `[3/16] ceb rho=5: trained, evaluating`."""
    console = progress_console()
    began = time.monotonic()
    seen = look()
    known = {run.planned.run_id: (run.current.stage, run.state) for run in seen.runs}
    warned: tuple[str, ...] = ()
    while _active(seen.runs):
        started = time.monotonic()
        seen, took = _again(look, seen), time.monotonic() - started
        for warning in seen.warnings:
            if warning not in warned:
                console.print(escape(warning))
        warned = seen.warnings
        done = sum(run.state == "done" for run in seen.runs)
        for run in seen.runs:
            now = (run.current.stage, run.state)
            if known[run.planned.run_id] != now:
                why = f": {reason(run)}" if reason(run) else ""
                console.print(escape(f"[{done}/{len(seen.runs)}] {run.planned.name}: {_moved(run)}{why}"))
            known[run.planned.run_id] = now
        time.sleep(max(POLL_SECONDS, _SHARE * took))
    console.print(f"{summary(seen.runs)} after {format_duration(time.monotonic() - began)}")
    return seen


def _moved(run: RunStatus) -> str:
    return run.state if run.state == "done" else f"{run.current.stage} {run.state}"
