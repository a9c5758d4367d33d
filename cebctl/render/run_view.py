"""The output of `cebctl show`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cebctl.render import output_mode
from cebctl.render.console import (
    fit_columns,
    format_decimals,
    format_duration,
    print_table,
    result_console,
    terminal_width,
)
from cebctl.status.find_run import StoredRun
from cebctl.status.staleness import ResultDrift
from experiments.benchmarks import full_column
from experiments.numerics import VersionDifference
from store.row_types import AttemptRow, ResultRow


def print_run(stored: StoredRun) -> None:
    """Print the spec, the attempts and the results of a run."""
    console = result_console()
    console.print(f"[bold]{stored.run.run_id}[/]  {escape(stored.run.label)}\n{escape(str(stored.paths.folder))}\n")
    flow = False if output_mode.current.plain else None  # None: short values share a line
    spec = yaml.safe_dump(
        stored.run.spec, sort_keys=False, default_flow_style=flow, width=terminal_width() - _YAML_OVERRUN
    )
    console.print(spec, markup=False)
    if stored.off_target:
        console.print(f"[yellow]{escape(stored.off_target)}[/]\n")
    _print_rows(console, _ATTEMPTS, [_attempt_row(job) for job in stored.jobs])
    training = stored.versions.training_drift(stored.run.run_id)
    if stored.results:
        console.print()
        drifts = [stored.versions.result_drift(row) for row in stored.results]
        _print_rows(console, _RESULTS, [_result_row(*pair) for pair in zip(stored.results, drifts, strict=True)])
        stale = [drift.difference for drift in drifts if drift.difference]
        if stale:
            console.print(f"\n† made with {_describe_versions(reduce(or_, stale))}", markup=False)
    if training.difference:
        console.print(f"\ntrained with {_describe_versions(training.difference)}", markup=False)
    if training.mixed:
        console.print(f"\n‡ trained under several versions: {', '.join(training.mixed)}", markup=False)


def _describe_versions(difference: VersionDifference) -> str:
    """Return in words how versions differ from today's."""
    parts = []
    if difference.raised:
        parts.append(f"earlier versions of {', '.join(difference.raised)}")
    if difference.newer:
        parts.append(f"newer versions than this cebctl knows of {', '.join(difference.newer)}: update it")
    if difference.unrecorded:
        parts.append("an earlier cebctl that recorded no versions")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Columns:
    """The columns of a table, and how it is made to fit a narrow terminal."""

    names: tuple[str, ...]
    spare: tuple[str, ...]
    """The columns that may be dropped, the least useful first."""
    least: Mapping[str, int]
    """The fewest characters of the columns that may be wrapped."""


_ATTEMPTS = _Columns(
    ("attempt", "state", "started", "took", "host", "steps", "error"),
    ("steps", "host", "took"),
    {"started": 10, "error": 16},
)
_RESULTS = _Columns(
    ("measure", "value", "n", "evaluation", "checkpoint"), ("evaluation", "checkpoint", "n"), {"measure": 24}
)
_YAML_OVERRUN = 8
"""PyYAML breaks a line only after the word that crosses the width."""


def _print_rows(console: Console, columns: _Columns, rows: Sequence[Sequence[str]]) -> None:
    names, rows = fit_columns(columns.names, rows, columns.spare, columns.least)
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=name not in columns.least, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    print_table(console, table)


def _attempt_row(job: AttemptRow) -> tuple[str, ...]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started_at)) if job.started_at else ""
    took = format_duration(job.updated_at - job.started_at) if job.started_at and job.updated_at else ""
    step = job.steps if job.state == "succeeded" else job.step  # the last heartbeat was before the end
    steps = f"{step:,}/{job.steps:,}" if step is not None and job.steps else ""
    return (
        f"{job.stage}.{job.attempt}{_generation_note(job.generation)}",
        job.state,
        started,
        took,
        job.host or "",
        steps,
        job.error or "",
    )


def _result_row(row: ResultRow, drift: ResultDrift) -> tuple[str, ...]:
    number = "–" if row.number is None else format_decimals(row.number, 4)
    value = number if row.correct is None else f"{row.correct}/{row.total} = {number}"
    value += "†" * bool(drift.difference) + "‡" * bool(drift.mixed)
    name = full_column(row.benchmark, row.name)
    checkpoint = f"step {row.checkpoint_step}{_generation_note(row.generation)}"
    return (f"{name} ({row.unit})", value, str(row.total), row.evaluation_id, checkpoint)


def _generation_note(number: int) -> str:
    """Return a note for what was done again with `--again`."""
    return f", generation {number}" if number > 1 else ""
