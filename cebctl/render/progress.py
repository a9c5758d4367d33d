"""Watching until every run has ended: a live screen on a terminal, plain lines elsewhere.

An unreachable store or a silent Slurm does not end the watching: the last snapshot stays, with a warning, until there
is a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from cebctl.render import output_mode
from cebctl.render.console import error_console, format_duration, progress_console
from cebctl.render.status_view import state_reason, summarize_states
from cebctl.render.watch_view import WatchScreen
from cebctl.status.polling import Snapshot
from cebctl.status.states import RunStatus
from experiments.errors import UnreachableError
from experiments.matrix.planned_run import Matrix

POLL_SECONDS = 0.5
_PAUSE_FACTOR = 4
"""A poll that took a second is followed by a pause of this many, because a login node is shared."""
_AS_OF = "this is as of"

Poll = Callable[[], Snapshot]


def watch(matrix: Matrix, poll: Poll) -> Snapshot:
    """Poll until no run is queued or running, and return the last snapshot.

    Ctrl-C ends the watching, not the runs, and says so.
    """
    try:
        return _watch_on_screen(matrix, poll) if output_mode.is_live() else watch_by_lines(poll, progress_console())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped watching, the runs go on: `cebctl status {matrix.path} --watch` shows them, "
            f"`cebctl cancel {matrix.path}` stops them"
        ) from None


def _is_active(runs: Sequence[RunStatus]) -> bool:
    return any(run.state in ("queued", "running") for run in runs)


def _poll_again(poll: Poll, last: Snapshot) -> Snapshot:
    """Return a new snapshot, or the last one with the error as a warning."""
    try:
        return poll()
    except (UnreachableError, OSError) as error:
        since = next((w for w in last.warnings if w.startswith(_AS_OF)), f"{_AS_OF} {time.strftime('%H:%M:%S')}")
        return replace(last, warnings=(since, str(error)))


def _watch_on_screen(matrix: Matrix, poll: Poll) -> Snapshot:
    """Draw on the alternate screen, between polls as well, so that a resized terminal is filled again."""
    began = time.monotonic()
    snapshot = poll()
    done_before = sum(run.state == "done" for run in snapshot.runs)
    with Live(console=error_console(), auto_refresh=False, screen=True) as live:

        def draw() -> None:
            screen = WatchScreen(matrix, snapshot, done_before, time.monotonic() - began)
            live.update(screen.render(*live.console.size), refresh=True)

        while _is_active(snapshot.runs):
            draw()
            started = time.monotonic()
            snapshot = _poll_again(poll, snapshot)
            next_poll = time.monotonic() + max(POLL_SECONDS, _PAUSE_FACTOR * (time.monotonic() - started))
            while time.monotonic() < next_poll:
                draw()
                time.sleep(min(POLL_SECONDS, max(next_poll - time.monotonic(), 0.01)))
    took = format_duration(time.monotonic() - began)
    progress_console().print(f"{matrix.path}: {summarize_states(snapshot.runs)} in {took}", markup=False)
    return snapshot


def watch_by_lines(poll: Poll, console: Console) -> Snapshot:
    """Print a line whenever the state of a run changes: `[3/16] ceb rho=5: evaluate running`."""
    began = time.monotonic()
    snapshot = poll()
    states = {run.planned.run_id: (run.current.stage, run.state) for run in snapshot.runs}
    warned: tuple[str, ...] = ()
    while _is_active(snapshot.runs):
        started = time.monotonic()
        snapshot = _poll_again(poll, snapshot)
        took = time.monotonic() - started
        for warning in snapshot.warnings:  # each once, not at every poll
            if warning not in warned:
                console.print(escape(warning))
        warned = snapshot.warnings
        done = sum(run.state == "done" for run in snapshot.runs)
        for run in snapshot.runs:
            state = (run.current.stage, run.state)
            if states[run.planned.run_id] != state:
                text = run.state if run.state == "done" else " ".join(state)
                reason = f": {state_reason(run)}" if state_reason(run) else ""
                console.print(escape(f"[{done}/{len(snapshot.runs)}] {run.planned.name}: {text}{reason}"))
            states[run.planned.run_id] = state
        time.sleep(max(POLL_SECONDS, _PAUSE_FACTOR * took))
    console.print(f"{summarize_states(snapshot.runs)} after {format_duration(time.monotonic() - began)}")
    return snapshot
