"""Staying until every run has ended: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cebctl.control.states import RunStatus
from cebctl.render.console import STATE_STYLE, duration, err
from cebctl.render.status_view import progress, reason, summary
from experiments.matrix import Matrix

POLL_SECONDS = 0.5
_SHOWN = 12
"""At most this many running runs are shown in the live display."""

Surveyor = Callable[[], list[RunStatus]]


def watch(matrix: Matrix, look: Surveyor) -> list[RunStatus]:
    """Look until nothing is queued or running any more, and return the last look.

    Ctrl-C ends the watching, not the runs.
    """
    console = err()
    try:
        runs = _live(matrix, look) if console.is_terminal and not console.is_dumb_terminal else _lines(look)
    except KeyboardInterrupt:
        console.print(f"\nstopped watching; the runs go on: `cebctl status {matrix.path} --watch`")
        raise
    return runs


def _active(runs: Sequence[RunStatus]) -> bool:
    return any(run.state in ("queued", "running") for run in runs)


def _live(matrix: Matrix, look: Surveyor) -> list[RunStatus]:
    began = time.monotonic()
    runs = look()
    done_before = sum(run.state == "done" for run in runs)
    with Live(console=err(), auto_refresh=False, transient=True) as live:
        while True:
            live.update(_picture(matrix, runs, done_before, time.monotonic() - began), refresh=True)
            if not _active(runs):
                break
            time.sleep(POLL_SECONDS)
            runs = look()
    err().print(f"{matrix.path}: {summary(runs)} in {duration(time.monotonic() - began)}")
    return runs


def _picture(matrix: Matrix, runs: Sequence[RunStatus], done_before: int, seconds: float) -> Group:
    done = sum(run.state == "done" for run in runs)
    left = ""
    if done > done_before and done < len(runs):
        left = f"{duration(seconds / (done - done_before) * (len(runs) - done))} left"
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(matrix.name, style="bold"), ProgressBar(total=len(runs), completed=done, width=30), summary(runs), left
    )
    table = Table.grid(padding=(0, 2))
    running = [run for run in runs if run.state == "running"]
    for run in running[:_SHOWN]:
        table.add_row(
            "", Text(run.planned.name), Text(run.current.stage, style=STATE_STYLE["running"]), progress(run.current.job)
        )
    if len(running) > _SHOWN:
        table.add_row("", f"… and {len(running) - _SHOWN} more")
    for run in runs:
        if run.state in ("failed", "lost"):
            table.add_row("", Text(run.planned.name), Text(run.state, style=STATE_STYLE[run.state]), Text(reason(run)))
    return Group(bar, table)


def _lines(look: Surveyor) -> list[RunStatus]:
    """A line whenever a run moves on: `[3/16] ceb rho=5: trained, evaluating`."""
    console = err()
    began = time.monotonic()
    runs = look()
    known = {run.planned.run_id: (run.current.stage, run.state) for run in runs}
    while _active(runs):
        time.sleep(POLL_SECONDS)
        runs = look()
        done = sum(run.state == "done" for run in runs)
        for run in runs:
            now = (run.current.stage, run.state)
            if known[run.planned.run_id] != now:
                why = f": {reason(run)}" if reason(run) else ""
                console.print(escape(f"[{done}/{len(runs)}] {run.planned.name}: {_moved(run)}{why}"))
            known[run.planned.run_id] = now
    console.print(f"{summary(runs)} after {duration(time.monotonic() - began)}")
    return runs


def _moved(run: RunStatus) -> str:
    return run.state if run.state == "done" else f"{run.current.stage} {run.state}"
